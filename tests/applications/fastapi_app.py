# A FastAPI application under uvicorn whose async handler sleeps without await: blocked-event-loop by `index`.
import sys
import time

import uvicorn
from fastapi import FastAPI

app = FastAPI()


def ask_the_database():
    time.sleep(0.05)
    return {"rows": 3}


@app.get("/")
async def index():
    return ask_the_database()


@app.get("/ready")
async def ready():
    return {}


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error")
