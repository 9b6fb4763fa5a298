"""Type-checked data pointers of arrays: the glue between NumPy and the C kernels.

With typed memoryviews, each function would be compiled once per combination of types. The pointers remain valid: the
array outlives the call, and NumPy does not reallocate an array that has other references.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)

cdef extern from "memory.h" nogil:
    long alternant_fail_allocation(long n)


cdef inline char *_address(object array, str name, const char *kinds, Py_ssize_t itemsize, int flags) except? NULL:
    """The data pointer of a C-ordered array with this itemsize and one of these format characters (module struct)."""
    cdef Py_buffer view
    cdef char *address
    cdef const char *kind = kinds
    cdef bint right
    PyObject_GetBuffer(array, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | flags)
    while kind[0] and view.format != NULL and kind[0] != view.format[0]:
        kind += 1
    right = kind[0] and view.itemsize == itemsize and view.format[1] == 0
    address = <char *> view.buf
    PyBuffer_Release(&view)
    if not right:
        raise ValueError(f"{name} has a different dtype than this kernel expects: {array.dtype}")
    return address


cdef inline const void *integers(object array, str name, Py_ssize_t itemsize) except? NULL:
    return _address(array, name, b"ilqbh", itemsize, 0)


cdef inline void *integers_out(object array, str name, Py_ssize_t itemsize) except? NULL:
    return _address(array, name, b"ilqbh", itemsize, PyBUF_WRITABLE)


cdef inline const void *unsigned_bytes(object array, str name) except? NULL:
    return _address(array, name, b"B", 1, 0)


cdef inline const void *floats(object array, str name, Py_ssize_t itemsize) except? NULL:
    """For float16, float32 or float64, depending on the itemsize."""
    return _address(array, name, b"efd", itemsize, 0)


cdef inline void *floats_out(object array, str name, Py_ssize_t itemsize) except? NULL:
    return _address(array, name, b"efd", itemsize, PyBUF_WRITABLE)


# The same, but NULL for None.

cdef inline const void *integers_or_null(object array, str name, Py_ssize_t itemsize) except? NULL:
    if array is None:
        return NULL
    return integers(array, name, itemsize)


cdef inline void *integers_out_or_null(object array, str name, Py_ssize_t itemsize) except? NULL:
    if array is None:
        return NULL
    return integers_out(array, name, itemsize)


cdef inline const void *floats_or_null(object array, str name, Py_ssize_t itemsize) except? NULL:
    if array is None:
        return NULL
    return floats(array, name, itemsize)


cdef inline void *floats_out_or_null(object array, str name, Py_ssize_t itemsize) except? NULL:
    if array is None:
        return NULL
    return floats_out(array, name, itemsize)


cdef inline Py_ssize_t real_size(object array) except 0:
    """4 for float32, 8 for float64; kernel tables are indexed by whether it is 8."""
    cdef Py_ssize_t itemsize = array.itemsize
    if itemsize != 4 and itemsize != 8:
        raise ValueError(f"the kernels take float32 and float64 arrays, got {array.dtype}")
    return itemsize
