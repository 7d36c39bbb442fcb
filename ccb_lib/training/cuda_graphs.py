"""CUDA-graph capture with an eager fallback."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.optim import Optimizer

# Libraries allocate memory and choose kernels in their first calls, which a capture cannot contain.
_WARM_UPS = 3


class CapturedWork:
    """A function without arguments or result, captured as one CUDA graph.

    The function reads and writes tensors whose memory addresses never change. On CUDA it is
    captured once and each call replays the graph, which launches hundreds of kernels at once. On
    other devices, and where the capture fails, each call runs the function eagerly.

    Args:
        work: The function. It must not wait for the device, and must launch the same kernels in
            each call.
        device: The device it runs on.
        restored: Returns a context manager that restores all state that the warm-up calls before
            the capture change.
        generator: The source of the function's random numbers, in place of the device's default
            generator.
        what: The name of the function in the warning of a failed capture.

    Attributes:
        captured: Whether calls replay a graph.
    """

    def __init__(
        self,
        work: Callable[[], None],
        device: torch.device,
        *,
        restored: Callable[[], AbstractContextManager] = nullcontext,
        generator: torch.Generator | None = None,
        what: str = "this work",
    ) -> None:
        self._call = work
        self.captured = False
        if device.type == "cuda":
            try:
                self._call = _record(work, device, restored, generator).replay
                self.captured = True
            except RuntimeError as error:
                warnings.warn(
                    f"No CUDA graph could be made of {what}, so it runs eagerly, with the same "
                    "result but slower. The reason: "
                    f"{str(error).splitlines()[0]}",
                    RuntimeWarning,
                    stacklevel=2,
                )

    def __call__(self) -> None:
        """Run the function once, on the current stream."""
        self._call()


class CapturedFunction:
    """A function of one batch, captured for one shape as a CUDA graph; see `CapturedWork`.

    Batches of other shapes, such as a shorter last batch, run eagerly.

    Args:
        function: Maps a batch to a tuple of tensors; must launch the same kernels in each call.
        example: A batch of the shape to capture; its values do not matter.
    """

    def __init__(self, function: Callable[[Tensor], tuple[Tensor, ...]], example: Tensor) -> None:
        self._function, self._x = function, example.clone()
        self._results: tuple[Tensor, ...] = ()
        self._replayed = CapturedWork(self._work, example.device, what="scoring")

    def _work(self) -> None:
        self._results = self._function(self._x)

    def __call__(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the function's results for ``x``."""
        if not self._replayed.captured or x.shape != self._x.shape:
            return self._function(x)
        self._x.copy_(x)
        self._replayed()
        return tuple(result.clone() for result in self._results)


def _record(
    work: Callable[[], None],
    device: torch.device,
    restored: Callable[[], AbstractContextManager],
    generator: torch.Generator | None,
) -> torch.cuda.CUDAGraph:
    graph = torch.cuda.CUDAGraph()
    # PyTorch cannot capture on the default stream, so warm-up and capture use a stream of their
    # own.
    stream, current = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    stream.wait_stream(current)
    with torch.cuda.device(device), _drawing_from(generator, device), _benchmarking_kernels():
        with torch.cuda.stream(stream), restored():
            for _ in range(_WARM_UPS):
                work()
        with torch.cuda.graph(graph, stream=stream):
            work()
    current.wait_stream(stream)
    return graph


@contextmanager
def _drawing_from(generator: torch.Generator | None, device: torch.device) -> Iterator[None]:
    """Replace the state of the device's default generator inside the block; restore it afterwards.

    Layers such as dropout always draw from the device's default generator. A graph keeps using the
    generator state that was in place at its capture. With a state of its own, a graph neither
    changes the random numbers of others nor depends on them.
    """
    with torch.random.fork_rng(devices=[device]):  # the warm-up must not advance the generators
        if generator is None:
            yield
            return
        index = torch.cuda.current_device() if device.index is None else device.index
        default = torch.cuda.default_generators[index]
        kept = default.graphsafe_get_state()
        default.graphsafe_set_state(generator.graphsafe_get_state())
        try:
            yield
        finally:
            default.graphsafe_set_state(kept)


@contextmanager
def _benchmarking_kernels() -> Iterator[None]:
    """Let cuDNN benchmark its kernels in the warm-up, unless the user asked for determinism."""
    was = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = was or not (
        torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled()
    )
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = was


@contextmanager
def restored(tensors: Iterable[Tensor], optimizers: Sequence[Optimizer]) -> Iterator[None]:
    """Restore tensors and optimiser state in place after the block, and drop gradients.

    Args:
        tensors: Parameters and buffers.
        optimizers: Their state must start from zeros, as Adam's does. State that the block creates
            is set to zero, not removed: a captured graph uses its memory.
    """
    tensors = list(tensors)
    kept = [tensor.detach().clone() for tensor in tensors]
    states = [
        {p: {k: v.clone() for k, v in state.items()} for p, state in o.state.items()}
        for o in optimizers
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, old in zip(tensors, kept, strict=True):
                tensor.copy_(old)
            for optimizer, state_before in zip(optimizers, states, strict=True):
                for parameter, state in optimizer.state.items():
                    for key, value in state.items():
                        old = state_before.get(parameter, {}).get(key)
                        value.copy_(torch.zeros_like(value) if old is None else old)
                optimizer.zero_grad(set_to_none=True)
