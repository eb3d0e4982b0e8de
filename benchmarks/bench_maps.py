"""softmax, log_softmax, logsumexp, sigmoid and log_sigmoid."""

from .common import (
    BACKWARD_MAPS,
    DTYPES,
    ELEMENTS,
    IMAGES,
    ISAS,
    MAPS,
    ROW_MAPS,
    ROW_SHAPES,
    SHORT_ROWS_OF_MEMORY,
    force_isa,
    function,
    normal,
    written,
)


def map_input(name, size, dtype):
    shape = ROW_SHAPES.get(size) if name in ROW_MAPS else ELEMENTS.get(size)
    if shape is None:
        raise NotImplementedError(f"{name} has no size {size}")
    return 3 * normal(shape, dtype)


def map_output(name, input):
    return written(input.shape[:-1] if name == "logsumexp" else input.shape, input.dtype)


def backward_arguments(name, input, axis):
    """A map's input; or, for a backward map, a gradient and what the map made of the input."""
    if name not in BACKWARD_MAPS:
        return (input,)
    return normal(input.shape, input.dtype, seed=1), function(name.removesuffix("_backward"))(input, axis=axis)


class Maps:
    """Into an array that exists, as a program does that calls them again and again."""

    params = (MAPS, list(ROW_SHAPES), DTYPES)
    param_names = ("map", "size", "dtype")

    def setup(self, name, size, dtype):
        self.map = function(name)
        self.input = map_input(name, size, dtype)
        self.out = map_output(name, self.input)

    def time_out(self, name, size, dtype):
        self.map(self.input, out=self.out)


class NewOutput:
    """Into memory that is new in each call: what the missing `out` costs."""

    params = (MAPS, DTYPES)
    param_names = ("map", "dtype")

    def setup(self, name, dtype):
        self.map = function(name)
        self.input = map_input(name, "memory", dtype)

    def time_new(self, name, dtype):
        self.map(self.input)


class ShortRowsOfMemory:
    """Rows that are transposed: asked for ahead of their turn, stored past the cache."""

    params = (ROW_MAPS, DTYPES)
    param_names = ("map", "dtype")

    def setup(self, name, dtype):
        self.map = function(name)
        self.input = normal(SHORT_ROWS_OF_MEMORY, dtype)
        self.out = map_output(name, self.input)

    def time_out(self, name, dtype):
        self.map(self.input, out=self.out)


class MapsByIsa:
    params = (MAPS, DTYPES, ISAS)
    param_names = ("map", "dtype", "isa")

    def setup(self, name, dtype, isa):
        force_isa(isa)
        self.map = function(name)
        self.input = map_input(name, "cache", dtype)
        self.out = map_output(name, self.input)

    def time_out(self, name, dtype, isa):
        self.map(self.input, out=self.out)


class ClassAxisFirst:
    """The class axis with a stride, as in (N, C, height, width) images."""

    params = (ROW_MAPS, ["short", "cache", "memory"], DTYPES)
    param_names = ("map", "size", "dtype")

    def setup(self, name, size, dtype):
        self.map = function(name)
        self.input = normal(ROW_SHAPES[size][::-1], dtype)
        self.out = written(self.input.shape[1:] if name == "logsumexp" else self.input.shape, dtype)

    def time_out(self, name, size, dtype):
        self.map(self.input, axis=0, out=self.out)


class Images:
    """The class axis in the middle."""

    params = (["softmax", "log_softmax", *BACKWARD_MAPS], list(IMAGES), DTYPES)
    param_names = ("map", "size", "dtype")

    def setup(self, name, size, dtype):
        self.map = function(name)
        self.arguments = backward_arguments(name, normal(IMAGES[size], dtype), 1)
        self.out = written(IMAGES[size], dtype)

    def time_out(self, name, size, dtype):
        self.map(*self.arguments, axis=1, out=self.out)


class BackwardMaps:
    params = (BACKWARD_MAPS, list(ROW_SHAPES), DTYPES)
    param_names = ("map", "size", "dtype")

    def setup(self, name, size, dtype):
        self.map = function(name)
        self.arguments = backward_arguments(name, normal(ROW_SHAPES[size], dtype), -1)
        self.out = written(ROW_SHAPES[size], dtype)

    def time_out(self, name, size, dtype):
        self.map(*self.arguments, out=self.out)
