"""The lines of Python on a card with which stock transformers and PEFT use the folder, one example per task."""

from adapterhub.tasks.task import Task

_LABELS = 'labels = json.loads(Path(folder, "adapterhub.json").read_text())["labels"]'
_WRITING = [
    'encoded = tokenizer("a prompt", return_tensors="pt")',
    "written = model.generate(**encoded, max_new_tokens=40)[0]",
    "print(tokenizer.decode(written, skip_special_tokens=True))"]
_EXAMPLES = {
    "text-generation": _WRITING,
    "text2text-generation": _WRITING,
    "text-classification": [
        _LABELS,
        'encoded = tokenizer("a text", return_tensors="pt")',
        "print(labels[int(model(**encoded).logits[0].argmax())])"],
    "multi-label-classification": [
        _LABELS,
        'scores = model(**tokenizer("a text", return_tensors="pt")).logits[0].sigmoid()',
        "print([label for label, score in zip(labels, scores) if score >= 0.5])"],
    "text-regression": ['print(float(model(**tokenizer("a text", return_tensors="pt")).logits[0, 0]))'],
    "token-classification": [
        _LABELS,
        'encoded = tokenizer(["some", "words"], is_split_into_words=True, return_tensors="pt")',
        "print([labels[i] for i in model(**encoded).logits[0].argmax(dim=-1)])  # one tag per subword"],
    "question-answering": [
        'encoded = tokenizer("a question", "a text that holds the answer", return_tensors="pt")',
        "output = model(**encoded)",
        "first, last = int(output.start_logits[0].argmax()), int(output.end_logits[0].argmax())",
        'print(tokenizer.decode(encoded["input_ids"][0][first:last + 1]))'],
    "sentence-similarity": [
        'encoded = tokenizer(["a question", "an answer to it"], padding=True, return_tensors="pt")',
        'mask = encoded["attention_mask"].unsqueeze(-1)',
        "means = (model(**encoded).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)",
        "print(torch.nn.functional.cosine_similarity(means[0], means[1], dim=0).item())"],
}


def usage_of(task: Task, base_id: str, n_labels: int) -> str:
    """Return the lines; `folder` in them is where the adapter lies. A task without an example ends at the model."""
    auto_class = task.auto_class.__name__
    example = _EXAMPLES.get(task.name, [])
    labels = f", num_labels={n_labels}" if n_labels else ""
    reads_labels = _LABELS in example
    return "\n".join([
        *(["import json", "from pathlib import Path", ""] if reads_labels else ["import torch"]),
        "from peft import PeftModel",
        f"from transformers import {auto_class}, AutoTokenizer",
        "",
        'folder = "."  # where this card lies',
        f'base = {auto_class}.from_pretrained("{base_id}"{labels})',
        "model = PeftModel.from_pretrained(base, folder).eval()",
        f'tokenizer = AutoTokenizer.from_pretrained("{base_id}")',
        *example])
