# A celery worker with two prefork children and a queue of tasks that compute: all-cores-busy, celery's workers.
from celery import Celery

app = Celery("celery_app", broker="filesystem://")
app.conf.update(
    broker_transport_options={"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"},
    worker_prefetch_multiplier=4,
)


@app.task(ignore_result=True)
def score(number):
    return sum(i * i % 7 for i in range(1_500_000))


if __name__ == "__main__":
    for number in range(1000):
        score.delay(number)
    app.worker_main(["worker", "-c", "2", "-P", "prefork", "--without-gossip", "--without-mingle", "-l", "ERROR"])
