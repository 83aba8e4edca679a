"""A grid search of scikit-learn over all CPUs, as its user guide shows it: grid_search.py SECONDS"""

import sys
import time

from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier

rows, classes = make_classification(4_000, 40, random_state=1)
search = GridSearchCV(
    DecisionTreeClassifier(random_state=1),
    {"max_depth": [6, 8, 10, 12], "min_samples_leaf": [1, 4, 16]},
    n_jobs=2,
)
until = time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    search.fit(rows, classes)
print(search.best_params_)
