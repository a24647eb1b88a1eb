"""InterpretDL: the softmax probability, and Grad-CAM's mean over channels."""

from types import MappingProxyType

from xai_med.profiles.profile import Convention, Profile
from xai_med.profiles.shapes import as_attributed
from xai_med.softmax import SoftmaxOf

INTERPRETDL = Profile(
    name="interpretdl",
    compared_with="InterpretDL 0.8",
    conventions=MappingProxyType(
        {
            "grad_cam": Convention(
                call="GradCAMInterpreter(model).interpret(x, layer, label)",
                differs="the softmax of the model's output is explained; mean over channels; not enlarged, "
                "(N, *layer space)",
                array=as_attributed,
                settings={"relu": (True,), "over_channels": ("mean",)},
                space_axes=(2,),
                target=SoftmaxOf,
            ),
            "smooth_grad": Convention(
                call="SmoothGradInterpreter(model).interpret(x, labels)",
                differs="the softmax of the model's output is explained; 50 samples, noise 0.1; other noise; each "
                "channel, (N, C, *space)",
                array=as_attributed,
                settings={"of": ("gradient",), "statistic": ("mean",), "of_settings": (None,)},
                defaults={"samples": 50, "noise": 0.1},
                space_axes=(2,),
                target=SoftmaxOf,
            ),
        }
    ),
    faults=MappingProxyType(
        {
            "the softmax of probabilities": "a softmax is taken of whatever the model returns, also where it ends in a "
            "softmax or a sigmoid already; refused here",
            "the model's mode": "Grad-CAM leaves the model in training mode, with dropout and batch norm changed for "
            "good; ours leaves it as it was",
        }
    ),
    not_covered=MappingProxyType(
        {
            "integrated_gradients": "its sum over both ends of the path, divided by the number of points, is another "
            "quadrature than our midpoints, and misses completeness",
            "score_cam": "probabilities weigh the channels without a softmax over them: another method",
            "lrp": "it needs a model whose layers have relprop functions of their own",
        }
    ),
)
"""InterpretDL's conventions."""
