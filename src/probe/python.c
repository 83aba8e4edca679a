/* python.c - open a Python process for reading, close it; the other parts of the reader build on what is
 * found here. */
#include "probe/reader.h"

/* Does the layout fit what is in memory? The first thread state must point back to its interpreter. */
static int runtime_check(struct ac_py *py) {
    uint64_t tstate, interp;
    int err = ac__interps_read(py);
    if (err == 0)
        err = ac__read_u64(py, py->interps[0] + py->layout.interp_threads, &tstate);
    if (err == 0 && tstate == 0)
        return -EAGAIN;
    if (err == 0)
        err = ac__read_u64(py, tstate + py->layout.tstate_interp, &interp);
    if (err < 0)
        return err == -EFAULT ? -EAGAIN : err;
    return interp == py->interps[0] ? 0 : -EAGAIN;
}

int ac_py_open(pid_t pid, struct ac_py **ret_py, struct ac_py_version *ret_version) {
    struct ac_py *py = ac_calloc(1, sizeof *py);
    if (!py)
        return -ENOMEM;
    py->pid = pid;
    py->tid_offset = -1;
    int err = ac__runtime_find(py);
    if (err == 0)
        err = runtime_check(py);
    if (err == 0 || err == -EAGAIN || err == -ENOTSUP)
        *ret_version = py->version;
    if (err == 0)
        *ret_py = py;
    else
        ac_py_close(py);
    return err;
}

void ac_py_close(struct ac_py *py) {
    if (!py)
        return;
    ac__codes_free(&py->codes);
    ac__plans_free(&py->plans);
    ac_free(py->tstates);
    ac_free(py);
}

void ac_py_version(const struct ac_py *py, struct ac_py_version *ret_version) {
    *ret_version = py->version;
}

void ac_py_errors(const struct ac_py *py, uint64_t *ret_torn, uint64_t *ret_failed) {
    *ret_torn = py->torn;
    *ret_failed = py->failed;
}
