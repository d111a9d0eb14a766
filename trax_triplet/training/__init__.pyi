from .run import train as train
from .settings import TrainSettings as TrainSettings
