# A Flask application whose pages are computed in Python, a thread a request: gil-bound-threads under load.
import sys

from flask import Flask

app = Flask(__name__)


def report():
    return str(sum(i * i % 7 for i in range(300_000)))


@app.route("/")
def index():
    return report()


@app.route("/ready")
def ready():
    return "ok"


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), threaded=True)
