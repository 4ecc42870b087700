"""Published figures to stand beside ours, each with its source and its workload, as ratios of full to adapter."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """One published comparison of full fine-tuning with LoRA."""

    source: str
    workload: str
    memory_ratio: float | None = None
    """Full over adapter, peak memory of training; None where it is not told."""
    time_ratio: float | None = None
    """Full over adapter, time of training the same rows."""
    bytes_ratio: float | None = None
    """Full over adapter, bytes on disk."""
    quality: str = ""


ANCHORS = (
    Anchor(source="Hu et al. 2021, arXiv 2106.09685, abstract and section 4.2",
           workload="GPT-3 175B, Adam, rank 4 on query and value, V100s", memory_ratio=1200 / 350,
           time_ratio=43.1 / 32.5, bytes_ratio=10_000,
           quality="WikiSQL 73.8 full, 73.4 LoRA; MNLI-m 89.5, 91.7 (table 4, 4.7 M trained)"),
    Anchor(source="Hu et al. 2021, microsoft/LoRA README", workload="RoBERTa-base 125 M, rank 8, GLUE",
           quality="GLUE mean 86.4 full, 87.2 LoRA; SST-2 94.8, 95.1"),
    Anchor(source="huggingface/peft method_comparison at 5d602fd, MetaMathQA, LoRA rank 32 on query and value",
           workload="Llama-3.2-3B, bf16, batch 4, 768 tokens, 5,000 steps, one L40S, one seed",
           memory_ratio=36.2 / 20.8, time_ratio=2147 / 942, bytes_ratio=6128 / 35,
           quality="GSM8K 0.472 full, 0.478 LoRA"),
    Anchor(source="huggingface/peft method_comparison at 5d602fd, image-gen, LoRA",
           workload="FLUX.2-klein 4B, 512 px, batch 2, 750 steps, gradient checkpointing", memory_ratio=37.1 / 10.0,
           time_ratio=293 / 759, bytes_ratio=7392 / 146,
           quality="DINO 0.577 full, 0.697 LoRA: there full fine-tuning is the faster one"),
    Anchor(source="Thinking Machines, LoRA Without Regret, 2025; TRL's reproduction",
           workload="language models, all linear layers", time_ratio=3 / 2,
           quality="equal on small and middling sets; behind where the set exceeds the adapter's capacity, or at large "
                   "batches"),
)
