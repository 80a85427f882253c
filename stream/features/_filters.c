/* Recursive filters, which numpy has no loop for: each value needs the one before it.

The frequency weightings of `weighting.py`: a short FIR filter, then first-order sections with real poles, high-passes
before low-passes. Every sample goes through the same operations in the same order, so the result is the same bits in
blocks of any size. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <string.h>

#define MOST_TAPS 64
#define MOST_POLES 8
#define INLINE static inline __attribute__((always_inline))

/* row[k] = sum of taps[j] * x[k - j]; `past` holds the taps - 1 samples before the row, the oldest first. */
static void fir(double *row, Py_ssize_t samples, double *past, const double *taps, Py_ssize_t count)
{
    const Py_ssize_t before = count - 1;
    double joined[2 * MOST_TAPS]; /* the past, and the first samples of the row */
    const Py_ssize_t first = samples < before ? samples : before;
    memcpy(joined, past, sizeof(double) * (size_t)before);
    memcpy(joined + before, row, sizeof(double) * (size_t)first);
    if (samples < before)
        memcpy(past, joined + samples, sizeof(double) * (size_t)before);
    else
        memcpy(past, row + samples - before, sizeof(double) * (size_t)before);
    for (Py_ssize_t k = samples - 1; k >= before; k--) { /* backwards: what is overwritten is not needed any more */
        double sum = row[k] * taps[0];
        for (Py_ssize_t j = 1; j < count; j++)
            sum += row[k - j] * taps[j];
        row[k] = sum;
    }
    for (Py_ssize_t k = 0; k < first; k++) {
        double sum = joined[before + k] * taps[0];
        for (Py_ssize_t j = 1; j < count; j++)
            sum += joined[before + k - j] * taps[j];
        row[k] = sum;
    }
}

/* Sections w' = p w + (1 - p) x: the low-pass gives w', the high-pass x - w. */
INLINE void sections(double *row, Py_ssize_t samples, double *kept, const double *poles, int high, int low)
{
    double w[MOST_POLES];
    for (int i = 0; i < high + low; i++)
        w[i] = kept[i];
    for (Py_ssize_t k = 0; k < samples; k++) {
        double x = row[k];
        for (int i = 0; i < high; i++) {
            const double out = x - w[i];
            w[i] = poles[i] * w[i] + (1.0 - poles[i]) * x;
            x = out;
        }
        for (int i = high; i < high + low; i++)
            x = w[i] = poles[i] * w[i] + (1.0 - poles[i]) * x;
        row[k] = x;
    }
    for (int i = 0; i < high + low; i++)
        kept[i] = w[i];
}

static void weight_row(double *row, Py_ssize_t samples, double *state, const double *taps, Py_ssize_t count,
                       const double *poles, int high, int low)
{
    double *kept = state + count - 1;
    fir(row, samples, state, taps, count);
    if (high == 4 && low == 0) /* numbers that the compiler knows */
        sections(row, samples, kept, poles, 4, 0);
    else if (high == 2 && low == 0)
        sections(row, samples, kept, poles, 2, 0);
    else if (high == 4 && low == 2)
        sections(row, samples, kept, poles, 4, 2);
    else
        sections(row, samples, kept, poles, high, low);
}

/* ---- Python */

PyDoc_STRVAR(weight_doc,
             "weight(samples, state, taps, poles, high)\n\n"
             "Filters float64 [streams, samples] in place: by the taps, then by sections at the poles, of which the first\n"
             "`high` are high-passes. `state` is [streams, len(taps) - 1 + len(poles)].");

static PyObject *weight(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    if (given != 5) {
        PyErr_SetString(PyExc_TypeError, "weight takes 5 arguments");
        return NULL;
    }
    const Py_ssize_t high = PyLong_AsSsize_t(args[4]);
    if (PyErr_Occurred())
        return NULL;
    enum { SAMPLES, STATE, TAPS, POLES, BUFFERS };
    Py_buffer b[BUFFERS];
    for (int i = 0; i < BUFFERS; i++)
        if (PyObject_GetBuffer(args[i], &b[i], i <= STATE ? PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE : PyBUF_C_CONTIGUOUS) < 0) {
            while (i--)
                PyBuffer_Release(&b[i]);
            return NULL;
        }
    const Py_ssize_t taps = b[TAPS].len / 8, poles = b[POLES].len / 8, size = taps - 1 + poles;
    int fits = b[SAMPLES].ndim == 2 && b[STATE].ndim == 2 && taps >= 1 && taps <= MOST_TAPS && poles <= MOST_POLES &&
               high >= 0 && high <= poles;
    for (int i = 0; fits && i < BUFFERS; i++)
        fits = b[i].itemsize == 8;
    PyObject *done = NULL;
    if (!fits || b[STATE].shape[0] != b[SAMPLES].shape[0] || b[STATE].shape[1] != size) {
        PyErr_SetString(PyExc_ValueError, "weight: shapes, types or lengths do not fit together");
    } else {
        const Py_ssize_t samples = b[SAMPLES].shape[1];
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t stream = 0; stream < b[SAMPLES].shape[0]; stream++)
            weight_row((double *)b[SAMPLES].buf + stream * samples, samples, (double *)b[STATE].buf + stream * size,
                       b[TAPS].buf, taps, b[POLES].buf, (int)high, (int)(poles - high));
        Py_END_ALLOW_THREADS
        done = Py_NewRef(Py_None);
    }
    for (int i = 0; i < BUFFERS; i++)
        PyBuffer_Release(&b[i]);
    return done;
}

static PyMethodDef methods[] = {
    {"weight", (PyCFunction)(void (*)(void))weight, METH_FASTCALL, weight_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_filters", "Recursive filters.", -1, methods};

PyMODINIT_FUNC PyInit__filters(void) { return PyModule_Create(&module); }
