#include "base/base.h"
#include "verdict/marks.h"
const char *const ac_pool_names[AC_POOL_KIND_COUNT] = {
    "",         "ProcessPoolExecutor", "multiprocessing.Pool", "joblib (loky)",     "Dask", "allcores' pool",
    "gunicorn", "celery (prefork)",    "pytest-xdist",         "PyTorch DataLoader"};
int ac_pool_figures(const struct ac_scene *scene) {
    (void)scene;
    return 0;
}
