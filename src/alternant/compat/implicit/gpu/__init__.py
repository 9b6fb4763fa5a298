"""What libraries ask about GPUs, of which there are none here."""

HAS_CUDA = False
NO_GPU = "alternant has no GPU models: pass use_gpu=False, or leave it out, to use the CPU"

__all__ = ["HAS_CUDA"]
