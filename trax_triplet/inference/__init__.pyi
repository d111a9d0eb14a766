from .onnx_file import export_onnx as export_onnx
from .quality import evaluate as evaluate
from .trained_model import TrainedModel as TrainedModel
from .trained_model import load_model as load_model
from .trained_model import save_model as save_model
from .trax_model import load_trax_model as load_trax_model
