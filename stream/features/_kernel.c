/* The loops that numpy has no fast form of: blocks of many streams into their places, spectra of many frames, and
weighted sums over their values.

Eight frames are computed side by side, one to each lane of a vector, so every lane goes through the same operations in
the same order: a frame's values are the same bits wherever it stands, however many there are, and, as nothing is
contracted to fused operations (-ffp-contract=off), on whatever vectors the processor has.

The FFT is Stockham's, without reordering passes (radix 4 first, then 2 and odd factors; C. Van Loan, Computational
Frameworks for the Fast Fourier Transform, 1992, section 1.7), of half the length on even and odd samples taken as real
and imaginary parts (the same, section 4.3). */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#define LANES 8
#define LARGEST_FACTOR 13

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
#define FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EACH_CPU
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4 * LANES)));
typedef float loose __attribute__((vector_size(4 * LANES), aligned(4), may_alias)); /* anywhere in memory */
typedef struct {
    lanes re, im;
} complex_lanes;

/* Rows of eight values become columns: the first value of each, the second of each, ... */
INLINE void transpose(lanes r[LANES])
{
    lanes a[LANES], b[LANES];
    for (int i = 0; i < LANES; i += 2) {
        a[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        a[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
    }
    for (int i = 0; i < LANES; i += 4)
        for (int j = 0; j < 2; j++) {
            b[i + 2 * j] = __builtin_shufflevector(a[i + j], a[i + 2 + j], 0, 1, 8, 9, 4, 5, 12, 13);
            b[i + 2 * j + 1] = __builtin_shufflevector(a[i + j], a[i + 2 + j], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int i = 0; i < 4; i++) {
        r[i] = __builtin_shufflevector(b[i], b[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        r[i + 4] = __builtin_shufflevector(b[i], b[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

/* Columns [0, count) of eight rows into one vector a column. */
INLINE void load_columns(const float *const rows[LANES], Py_ssize_t count, lanes *columns)
{
    Py_ssize_t k = 0;
    for (; k + LANES <= count; k += LANES) {
        lanes block[LANES];
        for (int i = 0; i < LANES; i++)
            block[i] = (lanes) * (const loose *)(rows[i] + k);
        transpose(block);
        for (int i = 0; i < LANES; i++)
            columns[k + i] = block[i];
    }
    for (; k < count; k++)
        for (int i = 0; i < LANES; i++)
            columns[k][i] = rows[i][k];
}

/* The way back, for the first `used` rows. */
INLINE void store_columns(const lanes *columns, Py_ssize_t count, float *const rows[LANES], int used)
{
    Py_ssize_t k = 0;
    for (; k + LANES <= count; k += LANES) {
        lanes block[LANES];
        for (int i = 0; i < LANES; i++)
            block[i] = columns[k + i];
        transpose(block);
        for (int i = 0; i < used; i++)
            *(loose *)(rows[i] + k) = (loose)block[i];
    }
    for (; k < count; k++)
        for (int i = 0; i < used; i++)
            rows[i][k] = columns[k][i];
}

INLINE complex_lanes times(complex_lanes a, float re, float im)
{
    return (complex_lanes){a.re * re - a.im * im, a.re * im + a.im * re};
}

/* One pass: `length` shrinks by 4, `stride` grows by 4. roots[k] = exp(-2 pi i k / size), size = length * step. */
INLINE void pass4(Py_ssize_t length, Py_ssize_t stride, Py_ssize_t step, const float *roots, const complex_lanes *x,
                  complex_lanes *y)
{
    const Py_ssize_t quarter = length / 4;
    for (Py_ssize_t p = 0; p < quarter; p++) {
        const float *w1 = roots + 2 * p * step, *w2 = roots + 4 * p * step, *w3 = roots + 6 * p * step;
        const complex_lanes *in = x + stride * p;
        complex_lanes *out = y + stride * 4 * p;
        for (Py_ssize_t q = 0; q < stride; q++) {
            const complex_lanes a = in[q], b = in[q + stride * quarter], c = in[q + 2 * stride * quarter],
                                d = in[q + 3 * stride * quarter];
            const complex_lanes even = {a.re + c.re, a.im + c.im}, odd = {b.re + d.re, b.im + d.im};
            const complex_lanes even_ = {a.re - c.re, a.im - c.im}, odd_ = {b.re - d.re, b.im - d.im};
            out[q] = (complex_lanes){even.re + odd.re, even.im + odd.im};
            out[q + stride] = times((complex_lanes){even_.re + odd_.im, even_.im - odd_.re}, w1[0], w1[1]);
            out[q + 2 * stride] = times((complex_lanes){even.re - odd.re, even.im - odd.im}, w2[0], w2[1]);
            out[q + 3 * stride] = times((complex_lanes){even_.re - odd_.im, even_.im + odd_.re}, w3[0], w3[1]);
        }
    }
}

/* The same by any small factor, as a plain sum. */
INLINE void pass_any(Py_ssize_t factor, Py_ssize_t length, Py_ssize_t stride, Py_ssize_t step, const float *roots,
                     const complex_lanes *x, complex_lanes *y)
{
    const Py_ssize_t part = length / factor, size = length * step;
    for (Py_ssize_t p = 0; p < part; p++)
        for (Py_ssize_t k = 0; k < factor; k++) {
            const float *w = roots + 2 * k * p * step;
            for (Py_ssize_t q = 0; q < stride; q++) {
                complex_lanes sum = x[q + stride * p];
                for (Py_ssize_t j = 1; j < factor; j++) {
                    const float *turn = roots + 2 * (j * k % factor * (size / factor));
                    const complex_lanes term = times(x[q + stride * (p + j * part)], turn[0], turn[1]);
                    sum.re += term.re;
                    sum.im += term.im;
                }
                y[q + stride * (factor * p + k)] = times(sum, w[0], w[1]);
            }
        }
}

static Py_ssize_t next_factor(Py_ssize_t length)
{
    if (length % 4 == 0)
        return 4;
    for (Py_ssize_t factor = 2; factor <= LARGEST_FACTOR; factor++)
        if (length % factor == 0)
            return factor;
    return 0;
}

/* The FFT of `size` values in x; y is room for as many. Returns which of the two holds the result. */
INLINE complex_lanes *fft(Py_ssize_t size, const float *roots, complex_lanes *x, complex_lanes *y)
{
    Py_ssize_t length = size, stride = 1;
    while (length > 1) {
        const Py_ssize_t factor = next_factor(length);
        if (factor == 4)
            pass4(length, stride, size / length, roots, x, y);
        else
            pass_any(factor, length, stride, size / length, roots, x, y);
        length /= factor;
        stride *= factor;
        complex_lanes *swap = x;
        x = y;
        y = swap;
    }
    return x;
}

typedef struct {
    const float *window, *roots; /* roots[k] = exp(-2 pi i k / n_fft), k < n_fft */
    const float *half_roots;     /* the same of n_fft / 2 */
    Py_ssize_t window_length, n_fft;
} plan;

/* Spectra of eight frames: powers, or real and imaginary parts, as columns [bins] or [2 bins] in `result`. */
INLINE void spectra_of_eight(const plan *plan, const float *const frames[LANES], int want_power, complex_lanes *work,
                             lanes *result)
{
    const Py_ssize_t half = plan->n_fft / 2, length = plan->window_length;
    lanes *samples = (lanes *)work; /* even and odd samples are real and imaginary parts already */
    load_columns(frames, length, samples);
    for (Py_ssize_t k = 0; k < length; k++)
        samples[k] *= plan->window[k];
    for (Py_ssize_t k = length; k < plan->n_fft; k++)
        samples[k] = (lanes){0};
    const complex_lanes *z = fft(half, plan->half_roots, work, work + half);
    const lanes first = z[0].re + z[0].im, last = z[0].re - z[0].im;
    if (want_power) {
        result[0] = first * first;
        result[half] = last * last;
    } else {
        result[0] = first;
        result[2 * half] = last;
        result[1] = result[2 * half + 1] = (lanes){0};
    }
    for (Py_ssize_t k = 1; k <= half / 2; k++) {
        const complex_lanes a = z[k], b = z[half - k];
        const complex_lanes even = {0.5f * (a.re + b.re), 0.5f * (a.im - b.im)};
        const complex_lanes odd = times((complex_lanes){0.5f * (a.im + b.im), 0.5f * (b.re - a.re)},
                                        plan->roots[2 * k], plan->roots[2 * k + 1]);
        const complex_lanes low = {even.re + odd.re, even.im + odd.im};
        const complex_lanes high = {even.re - odd.re, odd.im - even.im};
        if (want_power) {
            result[k] = low.re * low.re + low.im * low.im;
            result[half - k] = high.re * high.re + high.im * high.im;
        } else {
            result[2 * k] = low.re;
            result[2 * k + 1] = low.im;
            result[2 * (half - k)] = high.re;
            result[2 * (half - k) + 1] = high.im;
        }
    }
}

typedef struct {
    const float *samples;
    const long long *starts;   /* of each stream */
    Py_ssize_t streams, count; /* frames of each stream */
    Py_ssize_t first, hop;     /* of its first frame behind the start, and from frame to frame */
} framing;

typedef struct bands {
    const int *firsts, *lengths; /* of each sum: its first value and how many it takes */
    const float *weights;        /* one sum's after the other's */
    Py_ssize_t sums, values;
} bands;

/* All sums over eight rows, given as columns. */
INLINE void weigh_eight(const bands *bands, const lanes *columns, lanes *sums)
{
    const float *weight = bands->weights;
    for (Py_ssize_t m = 0; m < bands->sums; m++) {
        const lanes *value = columns + bands->firsts[m];
        const int length = bands->lengths[m];
        lanes four[4] = {{0}, {0}, {0}, {0}}; /* sums in turn: one alone would wait for each addition */
        int k = 0;
        for (; k + 4 <= length; k += 4)
            for (int j = 0; j < 4; j++)
                four[j] += value[k + j] * weight[k + j];
        for (; k < length; k++)
            four[0] += value[k] * weight[k];
        sums[m] = (four[0] + four[1]) + (four[2] + four[3]);
        weight += length;
    }
}

/* With `bands` the weighted sums of the powers in place of these. */
FOR_EACH_CPU static void spectra_of_all(const plan *plan, const framing *framing, int want_power, const bands *bands,
                                        float *out, complex_lanes *work)
{
    const Py_ssize_t rows = framing->streams * framing->count;
    const Py_ssize_t values = bands ? bands->sums : (plan->n_fft / 2 + 1) * (want_power ? 1 : 2);
    lanes *result = (lanes *)(work + plan->n_fft), *sums = result + 2 * (plan->n_fft / 2 + 1);
    for (Py_ssize_t row = 0; row < rows; row += LANES) {
        const int used = rows - row < LANES ? (int)(rows - row) : LANES;
        const float *frames[LANES];
        float *results[LANES];
        for (int i = 0; i < LANES; i++) {
            const Py_ssize_t r = row + (i < used ? i : 0);
            frames[i] = framing->samples + framing->starts[r / framing->count] + framing->first +
                        r % framing->count * framing->hop;
            results[i] = out + r * values;
        }
        spectra_of_eight(plan, frames, want_power, work, result);
        if (bands)
            weigh_eight(bands, result, sums);
        store_columns(bands ? sums : result, values, results, used);
    }
}

FOR_EACH_CPU static void weigh_all(const bands *bands, const float *rows, Py_ssize_t count, float *out, lanes *work)
{
    lanes *sums = work + bands->values;
    for (Py_ssize_t row = 0; row < count; row += LANES) {
        const int used = count - row < LANES ? (int)(count - row) : LANES;
        const float *sources[LANES];
        float *results[LANES];
        for (int i = 0; i < LANES; i++) {
            const Py_ssize_t r = row + (i < used ? i : 0);
            sources[i] = rows + r * bands->values;
            results[i] = out + r * bands->sums;
        }
        load_columns(sources, bands->values, work);
        weigh_eight(bands, work, sums);
        store_columns(sums, bands->sums, results, used);
    }
}

/* ---- Python */

static int get_buffers(PyObject *const *args, const int *places, const int *kinds, int count, Py_buffer *buffers)
{
    for (int i = 0; i < count; i++)
        if (PyObject_GetBuffer(args[places[i]], &buffers[i], kinds[i]) < 0) {
            while (i--)
                PyBuffer_Release(&buffers[i]);
            return -1;
        }
    return 0;
}

static void release(Py_buffer *buffers, int count)
{
    while (count--)
        PyBuffer_Release(&buffers[count]);
}

static lanes *room_for(Py_ssize_t vectors)
{
    void *room = NULL;
    if (posix_memalign(&room, 64, (size_t)vectors * sizeof(lanes)))
        PyErr_NoMemory();
    return room;
}

/* Whether sums as Python gives them stay within rows of so many values. */
static int bands_fit(const Py_buffer *firsts, const Py_buffer *lengths, const Py_buffer *weights, Py_ssize_t values,
                     bands *bands)
{
    *bands = (struct bands){firsts->buf, lengths->buf, weights->buf, firsts->len / 4, values};
    if (firsts->itemsize != 4 || lengths->itemsize != 4 || weights->itemsize != 4 || lengths->len != firsts->len)
        return 0;
    Py_ssize_t used = 0;
    for (Py_ssize_t m = 0; m < bands->sums; m++) {
        const int first = bands->firsts[m], length = bands->lengths[m];
        if (first < 0 || length < 0 || (Py_ssize_t)first + length > values)
            return 0;
        used += length;
    }
    return used * 4 == weights->len;
}

PyDoc_STRVAR(spectra_doc,
             "spectra(samples, starts, first, hop, count, window, roots, half_roots, out[, firsts, lengths, weights])\n\n"
             "The spectra of frames `samples[start + first + f * hop :][:len(window)]`, f < count, of each stream's start,\n"
             "under the window and padded behind with zeros to n_fft = len(roots), an even number: powers where `out` is\n"
             "float32 [streams * count, n_fft // 2 + 1], the spectra themselves where it is complex64; with the last\n"
             "three, as `weigh` takes them, weighted sums of the powers, float32 [streams * count, sums].");

static PyObject *spectra(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    if (given != 9 && given != 12) {
        PyErr_SetString(PyExc_TypeError, "spectra takes 9 or 12 arguments");
        return NULL;
    }
    const Py_ssize_t first = PyLong_AsSsize_t(args[2]), hop = PyLong_AsSsize_t(args[3]), count = PyLong_AsSsize_t(args[4]);
    if (PyErr_Occurred())
        return NULL;
    enum { SAMPLES, STARTS, WINDOW, ROOTS, HALF_ROOTS, OUT, FIRSTS, LENGTHS, WEIGHTS, BUFFERS };
    Py_buffer b[BUFFERS];
    const int places[] = {0, 1, 5, 6, 7, 8, 9, 10, 11}, weighted = given == 12, buffers = weighted ? BUFFERS : FIRSTS;
    const int kinds[] = {PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS,
                         PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE,
                         PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS};
    if (get_buffers(args, places, kinds, buffers, b) < 0)
        return NULL;
    const Py_ssize_t window = b[WINDOW].len / 4, n_fft = b[ROOTS].len / 8, half = n_fft / 2, streams = b[STARTS].len / 8;
    Py_ssize_t rest = half;
    while (rest > 1 && next_factor(rest))
        rest /= next_factor(rest);
    const int want_power = b[OUT].itemsize == 4;
    int fits = b[SAMPLES].itemsize == 4 && b[STARTS].itemsize == 8 && b[WINDOW].itemsize == 4 && first >= 0 && hop >= 0 &&
               count >= 1 && window >= 1 && window <= n_fft && n_fft >= 2 && n_fft % 2 == 0 && rest == 1 &&
               b[HALF_ROOTS].len == half * 8 && (want_power || (b[OUT].itemsize == 8 && !weighted));
    bands bands = {0};
    if (fits && weighted)
        fits = bands_fit(&b[FIRSTS], &b[LENGTHS], &b[WEIGHTS], half + 1, &bands);
    fits = fits && b[OUT].len == streams * count * (weighted ? bands.sums : half + 1) * b[OUT].itemsize;
    for (Py_ssize_t i = 0; fits && i < streams; i++) {
        const long long start = ((const long long *)b[STARTS].buf)[i];
        fits = start >= 0 && start + first + (count - 1) * hop + window <= b[SAMPLES].len / 4;
    }
    PyObject *done = NULL;
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "spectra: shapes, types or lengths do not fit together");
    } else {
        complex_lanes *work = (complex_lanes *)room_for(2 * n_fft + 2 * (half + 1) + bands.sums);
        if (work) {
            const plan plan = {b[WINDOW].buf, b[ROOTS].buf, b[HALF_ROOTS].buf, window, n_fft};
            const framing framing = {b[SAMPLES].buf, b[STARTS].buf, streams, count, first, hop};
            Py_BEGIN_ALLOW_THREADS
            spectra_of_all(&plan, &framing, want_power, weighted ? &bands : NULL, b[OUT].buf, work);
            Py_END_ALLOW_THREADS
            free(work);
            done = Py_NewRef(Py_None);
        }
    }
    release(b, buffers);
    return done;
}

PyDoc_STRVAR(weigh_doc, "weigh(rows, firsts, lengths, weights, out)\n\n"
                        "out[r, m] = sum of rows[r, firsts[m] :][:lengths[m]] times the m-th sum's weights; float32.");

static PyObject *weigh(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    if (given != 5) {
        PyErr_SetString(PyExc_TypeError, "weigh takes 5 arguments");
        return NULL;
    }
    enum { ROWS, FIRSTS, LENGTHS, WEIGHTS, OUT, BUFFERS };
    Py_buffer b[BUFFERS];
    const int places[] = {0, 1, 2, 3, 4};
    const int kinds[] = {PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS,
                         PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE};
    if (get_buffers(args, places, kinds, BUFFERS, b) < 0)
        return NULL;
    bands bands;
    const int fits = b[ROWS].ndim == 2 && b[ROWS].itemsize == 4 && b[OUT].itemsize == 4 &&
                     bands_fit(&b[FIRSTS], &b[LENGTHS], &b[WEIGHTS], b[ROWS].shape[1], &bands);
    PyObject *done = NULL;
    if (!fits || b[OUT].len != b[ROWS].shape[0] * bands.sums * 4) {
        PyErr_SetString(PyExc_ValueError, "weigh: shapes, types or lengths do not fit together");
    } else {
        lanes *work = room_for(b[ROWS].shape[1] + bands.sums);
        if (work) {
            Py_BEGIN_ALLOW_THREADS
            weigh_all(&bands, b[ROWS].buf, b[ROWS].shape[0], b[OUT].buf, work);
            Py_END_ALLOW_THREADS
            free(work);
            done = Py_NewRef(Py_None);
        }
    }
    release(b, BUFFERS);
    return done;
}

PyDoc_STRVAR(append_doc,
             "append(samples, rows, begin, fill, joined, lengths)\n\n"
             "The pieces of `joined`, one behind the other, of so many values each: each behind the `fill[row]` samples from\n"
             "`begin[row]` on of its row of `samples`; these are moved to the row's front where there is no room behind\n"
             "them. The rows must differ.");

static PyObject *append(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    if (given != 6) {
        PyErr_SetString(PyExc_TypeError, "append takes 6 arguments");
        return NULL;
    }
    enum { SAMPLES, ROWS, BEGIN, FILL, JOINED, LENGTHS, BUFFERS };
    Py_buffer b[BUFFERS];
    const int places[] = {0, 1, 2, 3, 4, 5};
    const int kinds[] = {PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE,
                         PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS};
    if (get_buffers(args, places, kinds, BUFFERS, b) < 0)
        return NULL;
    const Py_ssize_t count = b[ROWS].len / 8, room = b[SAMPLES].ndim == 2 ? b[SAMPLES].shape[1] : 0;
    const Py_ssize_t slots = b[SAMPLES].ndim == 2 ? b[SAMPLES].shape[0] : 0;
    const long long *rows = b[ROWS].buf, *lengths = b[LENGTHS].buf;
    long long *begin = b[BEGIN].buf, *fill = b[FILL].buf;
    const float *from = b[JOINED].buf;
    long long rest = b[JOINED].len / 4;
    int fits = b[SAMPLES].itemsize == 4 && b[ROWS].itemsize == 8 && b[BEGIN].itemsize == 8 && b[FILL].itemsize == 8 &&
               b[JOINED].itemsize == 4 && b[LENGTHS].itemsize == 8 && b[BEGIN].len == slots * 8 &&
               b[FILL].len == slots * 8 && b[LENGTHS].len == b[ROWS].len;
    for (Py_ssize_t i = 0; fits && i < count; i++) {
        const long long row = rows[i], length = lengths[i];
        fits = row >= 0 && row < slots && length >= 0 && length <= rest && begin[row] >= 0 && fill[row] >= 0 &&
               begin[row] + fill[row] <= room && fill[row] + length <= room;
        if (!fits)
            break;
        float *to = (float *)b[SAMPLES].buf + row * room;
        if (begin[row] + fill[row] + length > room) {
            memmove(to, to + begin[row], (size_t)fill[row] * 4);
            begin[row] = 0;
        }
        memcpy(to + begin[row] + fill[row], from, (size_t)length * 4);
        fill[row] += length;
        from += length;
        rest -= length;
    }
    release(b, BUFFERS);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "append: shapes, types or lengths do not fit together");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(gather_doc, "gather(samples, starts, out)\n\n"
                         "out[i] = samples[starts[i] :][:out.shape[1]], counted over all of `samples`.");

static PyObject *gather(PyObject *self, PyObject *const *args, Py_ssize_t given)
{
    if (given != 3) {
        PyErr_SetString(PyExc_TypeError, "gather takes 3 arguments");
        return NULL;
    }
    enum { SAMPLES, STARTS, OUT, BUFFERS };
    Py_buffer b[BUFFERS];
    const int places[] = {0, 1, 2};
    const int kinds[] = {PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE};
    if (get_buffers(args, places, kinds, BUFFERS, b) < 0)
        return NULL;
    const Py_ssize_t count = b[STARTS].len / 8, length = b[OUT].ndim == 2 ? b[OUT].shape[1] : 0;
    int fits = b[OUT].ndim == 2 && b[SAMPLES].itemsize == 4 && b[OUT].itemsize == 4 && b[STARTS].itemsize == 8 &&
               b[OUT].shape[0] == count;
    for (Py_ssize_t i = 0; fits && i < count; i++) {
        const long long start = ((const long long *)b[STARTS].buf)[i];
        fits = start >= 0 && start + length <= b[SAMPLES].len / 4;
        if (fits)
            memcpy((float *)b[OUT].buf + i * length, (const float *)b[SAMPLES].buf + start, (size_t)length * 4);
    }
    release(b, BUFFERS);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "gather: shapes, types or lengths do not fit together");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"append", (PyCFunction)(void (*)(void))append, METH_FASTCALL, append_doc},
    {"gather", (PyCFunction)(void (*)(void))gather, METH_FASTCALL, gather_doc},
    {"spectra", (PyCFunction)(void (*)(void))spectra, METH_FASTCALL, spectra_doc},
    {"weigh", (PyCFunction)(void (*)(void))weigh, METH_FASTCALL, weigh_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_kernel", "Spectra and weighted sums of many frames.", -1, methods};

PyMODINIT_FUNC PyInit__kernel(void) { return PyModule_Create(&module); }
