"""Deliberate faults: small changes of the code that break one promise each, and the tests that must notice.

The text of a fault is an exact piece of its file that occurs there once; a test keeps the list in step with the code.
"""

from dataclasses import dataclass

GRADIENT, GRAD_CAM, CAM, LRP, CLEAR = (
    f"tests/test_method_{name}.py" for name in ("gradient", "grad_cam", "cam", "lrp", "clear")
)
LRP_RULES, LRP_PLACES = (f"tests/test_method_lrp_{name}.py" for name in ("rules", "places"))
EXCITATION = "tests/test_method_excitation_backprop.py"
AVERAGES, PERTURBATION, CHANGED_FEATURES = (
    f"tests/test_method_{name}.py" for name in ("averages", "perturbation", "changed_features")
)
REVERSE = "tests/test_torch_reverse.py"
BAD_INPUT, UNCHANGED, ARCHITECTURES = (
    f"tests/test_{name}.py" for name in ("bad_input", "caller_unchanged", "architectures")
)


@dataclass(frozen=True)
class Fault:
    """One deliberate fault.

    Parameters
    ----------
    name : str
        Short, for the command line.
    file : str
        Relative to the repository.
    text : str
        Occurs exactly once in the file.
    replacement : str
        What is put in its place.
    breaks : str
        The promise that is broken.
    tests : tuple of str
        Arguments of pytest: what is expected to fail.
    """

    name: str
    file: str
    text: str
    replacement: str
    breaks: str
    tests: tuple[str, ...]


FAULTS = (
    # ---- methods
    Fault(
        "grad_cam_without_relu",
        "xai_med/layer_maps.py",
        "maps = tensors.relu(maps)",
        "maps = maps + 0",
        "Grad-CAM keeps positive evidence only",
        (GRAD_CAM,),
    ),
    Fault(
        "grad_cam_mean_over_fewer_axes",
        "xai_med/methods/grad_cam.py",
        "weights = tensors.mean(gradient,",
        "weights = tensors.sum(gradient,",
        "weights of Grad-CAM are the mean of the gradients over space, not their sum",
        (GRAD_CAM,),
    ),
    Fault(
        "class_maps_without_images",
        "xai_med/maps/activation.py",
        '"nc...,nkc->nk..."',
        '"nc...,mkc->nk..."',
        "each image's features are weighed by its own weights, not by the sum over images",
        (GRAD_CAM,),
    ),
    Fault(
        "relevance_mean_over_channels",
        "xai_med/relevance.py",
        "trace.tensors.sum(values, (2,))",
        "trace.tensors.mean(values, (2,))",
        "a relevance map is the sum over channels, so that it conserves",
        (LRP,),
    ),
    Fault(
        "gradient_without_magnitude",
        "xai_med/input_gradients.py",
        '"max_abs": lambda gradient, tensors: tensors.amax(tensors.abs(gradient), (2,))',
        '"max_abs": lambda gradient, tensors: tensors.amax(gradient, (2,))',
        "saliency is the largest magnitude over channels",
        (GRADIENT,),
    ),
    Fault(
        "clear_ignores_psi",
        "xai_med/class_seeds.py",
        "class_maps = tensors.relu(class_maps)",
        "class_maps = class_maps + 0",
        "with psi='relu' only positive evidence is sent back",
        (CLEAR,),
    ),
    Fault(
        "clear_last_of_equals",
        "xai_med/maps/dominance.py",
        "responses.argmax(axis=1)",
        "responses.shape[1] - 1 - responses[:, ::-1].argmax(axis=1)",
        "among equal responses the lowest position wins",
        (CLEAR, "tests/test_render_clear.py"),
    ),
    # ---- rules
    Fault(
        "epsilon_with_the_other_sign",
        "xai_med/rules/stabilise.py",
        "tensors.where(fixed >= 0, fixed + epsilon, fixed - epsilon)",
        "tensors.where(fixed >= 0, fixed - epsilon, fixed + epsilon)",
        "a stabiliser moves a denominator away from zero",
        (LRP,),
    ),
    Fault(
        "z_plus_without_negative_inputs",
        "xai_med/rules/contributions.py",
        "return not bool(smallest < 0)",
        "return True",
        "z+ holds for inputs of either sign",
        (LRP,),
    ),
    Fault(
        "z_plus_without_bias",
        "xai_med/rules/contributions.py",
        "None if details.bias is None or not biased else tensors.relu(details.bias)",
        "None",
        "the positive bias keeps its share",
        (LRP,),
    ),
    Fault(
        "gamma_favours_one_sign",
        "xai_med/rules/gamma.py",
        "tensors.where(operation.value > 0, positive, whole - positive)",
        "positive",
        "outputs below zero favour what speaks for them",
        (LRP_RULES,),
    ),
    Fault(
        "beta_of_the_other_sign",
        "xai_med/rules/alpha_beta.py",
        "surrogate - shares(",
        "surrogate + shares(",
        "negative contributions get minus beta",
        (LRP_RULES,),
    ),
    Fault(
        "z_box_from_the_wrong_end",
        "xai_med/rules/z_box.py",
        "of=probe * low)",
        "of=probe * high)",
        "weights above zero are counted from the lower end",
        (LRP_RULES,),
    ),
    Fault(
        "excitation_with_bias",
        "xai_med/rules/excitation.py",
        "excitation = positive_contributions(operation, tensors, rule=self.name, biased=False)",
        "excitation = positive_contributions(operation, tensors, rule=self.name)",
        "no bias wins",
        (EXCITATION,),
    ),
    Fault(
        "subtracted_term_as_if_added",
        "xai_med/rules/excitation.py",
        "tensors.relu(_alone(operation, position, tensors))",
        "_alone(operation, position, tensors)",
        "terms below zero do not excite",
        (EXCITATION,),
    ),
    Fault(
        "earlier_place_goes_before_a_later",
        "xai_med/backend/tracing/surrogates.py",
        "for placed in reversed(self._rules.placed)",
        "for placed in self._rules.placed",
        "the last rule that holds is applied",
        (LRP_PLACES,),
    ),
    Fault(
        "depth_counted_from_one",
        "xai_med/backend/tracing/surrogates.py",
        "self._layer(), self._count if kind",
        "self._layer(), self._count + 1 if kind",
        "layers are numbered from 0",
        (LRP_PLACES,),
    ),
    Fault(
        "idle_places_ignored",
        "xai_med/relevance.py",
        "if not any(node.placed is placed for node in on_the_way):",
        "if False:",
        "a rule that is applied to nothing is refused",
        (LRP_PLACES,),
    ),
    Fault(
        "batch_norm_not_merged",
        "xai_med/rules/composites.py",
        "        merges_batch_norm=True,",
        "        merges_batch_norm=False,",
        "a convolution and its batch norm are one operation",
        (LRP,),
    ),
    Fault(
        "merged_shift_twice",
        "xai_med/backend/tracing/weighted.py",
        "details.bias * statistics.scale + statistics.shift",
        "details.bias * statistics.scale + 2 * statistics.shift",
        "the bias of a merged batch norm is counted once",
        (LRP,),
    ),
    Fault(
        "surrogate_with_another_value",
        "xai_med/rules/stabilise.py",
        "return tensors.carry(surrogate, tensors.stop_gradient(value))",
        "return surrogate",
        "a surrogate keeps the value of its operation",
        (LRP,),
    ),
    Fault(
        "share_not_held_fixed",
        "xai_med/rules/stabilise.py",
        "carry(parts * tensors.quotient(value, denominator), value, tensors)",
        "carry(parts * (tensors.stop_gradient(value) / parts), value, tensors)",
        "denominators are held fixed",
        (LRP,),
    ),
    Fault(
        "module_with_hooks_reported_as_its_call",
        "backends/xai_med_torch/leaves.py",
        'if given["_forward_hooks"] or given["_forward_pre_hooks"]:',
        "if False:",
        "hooks of a module run while it is explained",
        ("tests/test_torch_leaves.py",),
    ),
    Fault(
        "weights_never_depend_on_the_image",
        "backends/xai_med_torch/leaves.py",
        "_PARAMETERS = (nn.Parameter, type(None))",
        "_PARAMETERS = (nn.Parameter, torch.Tensor, type(None))",
        "a weight that was computed from the image is followed",
        ("tests/test_torch_leaves.py",),
    ),
    # ---- maps in space
    Fault(
        "axes_swapped_on_resizing",
        "xai_med/maps/resize.py",
        "axis = len(old) - len(space) + offset",
        "axis = len(old) - 1 - offset",
        "height and width keep their places",
        ("tests/test_maps_resize.py", CAM),
    ),
    Fault(
        "corners_aligned",
        "xai_med/maps/resize.py",
        "    if align_corners:\n",
        "    if not align_corners:\n",
        "positions are those of the centres of cells",
        ("tests/test_maps_resize.py",),
    ),
    # ---- what is explained
    Fault(
        "class_off_by_one",
        "xai_med/selection.py",
        "np.put_along_axis(coefficients, indices[:, :, None], 1.0, axis=2)",
        "np.put_along_axis(coefficients, (indices[:, :, None] + 1) % context.classes, 1.0, axis=2)",
        "the class that was asked for is explained",
        (GRADIENT,),
    ),
    Fault(
        "negative_class_accepted",
        "xai_med/selection.py",
        "        if index < 0:\n",
        "        if index < -self.classes:\n",
        "a class of -1 is refused, not read as the last",
        (BAD_INPUT,),
    ),
    Fault(
        "predicted_class_of_the_first_image",
        "xai_med/targets.py",
        "values.argmax(axis=1)[:, None]",
        "values.argmax(axis=1)[:1, None].repeat(len(values), axis=0)",
        "each image's own predicted class is explained",
        (GRADIENT, BAD_INPUT),
    ),
    Fault(
        "softmax_explained_as_it_is",
        "xai_med/logits.py",
        "_SQUASHES = (Kind.SIGMOID, Kind.SOFTMAX)",
        "_SQUASHES = (Kind.SIGMOID,)",
        "a final softmax is looked through",
        (GRADIENT, CAM),
    ),
    # ---- what is refused
    Fault(
        "nan_input_accepted",
        "xai_med/images_given.py",
        "    bad = ~np.isfinite(values)\n",
        "    bad = np.isinf(values)\n",
        "NaN in an image is refused",
        (BAD_INPUT,),
    ),
    Fault(
        "nan_weights_accepted_in_torch",
        "backends/xai_med_torch/weights.py",
        "if sums and not bool(torch.isfinite(",
        "if sums and not bool(torch.isreal(",
        "weights that are not finite are refused",
        (BAD_INPUT,),
    ),
    Fault(
        "nan_weights_accepted_in_paddle",
        "backends/xai_med_paddle/weights.py",
        "if not all(_have_finite_sums(",
        "if False and not all(_have_finite_sums(",
        "weights that are not finite are refused",
        (BAD_INPUT,),
    ),
    Fault(
        "max_pool_taken_for_an_average_in_torch",
        "backends/xai_med_torch/table.py",
        '    Kind.AVERAGE_POOL: "avg_pool1d',
        '    Kind.AVERAGE_POOL: "adaptive_max_pool2d avg_pool1d',
        "a global maximum has no class activation maps",
        (CAM,),
    ),
    Fault(
        "subtraction_taken_for_a_product_in_paddle",
        "backends/xai_med_paddle/table.py",
        'Kind.ADD: "add subtract',
        'Kind.ADD: "subtract',
        "an addition shares relevance",
        (LRP,),
    ),
    # ---- following the model
    Fault(
        "captured_tensor_without_a_copy",
        "xai_med/backend/tracing/capture.py",
        "            handed = self._framework.copy(self.tensor)\n        else:\n            handed = self.lattice",
        "            handed = self.tensor\n        else:\n            handed = self.lattice",
        "what follows a layer in place does not reach its captured output",
        (GRAD_CAM, ARCHITECTURES),
    ),
    Fault(
        "copies_share_memory_in_paddle",
        "backends/xai_med_paddle/framework.py",
        "return paddle.assign(tensor)",
        "return tensor",
        "what is handed on to the model has memory of its own",
        (GRAD_CAM, UNCHANGED),
    ),
    Fault(
        "images_mixed_one_by_one",
        "xai_med/portions.py",
        "take(request.batch, list(range(start, stop)), 0)",
        "take(request.batch, list(range(stop - start)), 0)",
        "each image of a batch that mixes is explained by itself",
        ("tests/test_adversarial_torch.py",),
    ),
    Fault(
        "targets_of_a_portion_lost",
        "xai_med/portions.py",
        "PerImage(target.names[start:stop])",
        "PerImage(target.names[: stop - start])",
        "each image of a portion keeps its own target",
        ("tests/test_portions.py",),
    ),
    Fault(
        "axes_of_a_permutation_lost",
        "xai_med/backend/axes.py",
        "return tuple(source[axis] for axis in details.order)",
        "return source",
        "what the axes of features mean is followed",
        ("tests/test_adversarial_torch.py", ARCHITECTURES),
    ),
    # ---- nothing of the caller changes
    Fault(
        "training_flag_not_restored",
        "xai_med/backend/tracing/evaluation.py",
        "module.training = True",
        "module.training = False",
        "a model in training is in training afterwards",
        (UNCHANGED,),
    ),
    Fault(
        "hooks_left_behind_in_torch",
        "backends/xai_med_torch/interception.py",
        "_handles.pop().remove()",
        "_handles.pop()",
        "no hooks stay behind",
        (UNCHANGED,),
    ),
    Fault(
        "functions_left_replaced_in_paddle",
        "backends/xai_med_paddle/choke_points.py",
        "setattr(slot.owner, slot.name, slot.original)",
        "slot.owner",
        "nothing of the framework stays replaced",
        ("tests/test_paddle_adapter.py", UNCHANGED),
    ),
    Fault(
        "caller_s_autocast_kept_in_torch",
        "backends/xai_med_torch/framework.py",
        "with no_inference_mode(), no_autocast(), undisturbed():",
        "with no_inference_mode(), undisturbed():",
        "an explanation has the precision of the model, whatever surrounds it",
        ("tests/contexts/test_torch_modes.py",),
    ),
    Fault(
        "threads_share_a_tracer_in_torch",
        "backends/xai_med_torch/interception.py",
        "class _Active(threading.local):",
        "class _Active:",
        "threads that share a model get their own maps",
        ("tests/test_threads_interleaved.py",),
    ),
    # ---- the reverse pass for many classes
    Fault(
        "written_weights_are_not_read_again_in_torch",
        "backends/xai_med_torch/weights.py",
        "if looked is None or looked.version != tensor._version or looked.address",
        "if looked is None or looked.address",
        "weights that were written are read again",
        (BAD_INPUT,),
    ),
    Fault(
        "reverse_pass_ignores_the_rectifier",
        "backends/xai_med_torch/reverse/local.py",
        "is_on = (result > 0)",
        "is_on = (result >= 0)",
        "all classes at once equal one by one",
        (REVERSE,),
    ),
    Fault(
        "reverse_pass_writes_what_is_shared",
        "backends/xai_med_torch/reverse/local.py",
        "    if len(asked) > 1:\n        held.is_own = False\n    return [held if",
        "    return [held if",
        "cotangents of several ways are added, not mixed",
        (REVERSE,),
    ),
    Fault(
        "reverse_pass_forgets_broadcasting",
        "backends/xai_med_torch/reverse/batched.py",
        "value = held.value.sum(axes, keepdim=True) if axes else held.value",
        "value = held.value.mean(axes, keepdim=True) if axes else held.value",
        "broadcasting is undone by a sum",
        (REVERSE,),
    ),
    # ---- methods that ask again
    Fault(
        "path_by_right_ends",
        "xai_med/paths.py",
        "(index + 0.5) / steps",
        "(index + 1.0) / steps",
        "paths are integrated by midpoints",
        (AVERAGES,),
    ),
    Fault(
        "noisy_copies_choose_their_own_class",
        "xai_med/repeated.py",
        "    return Repeated(method, given, of_same_scores(request, explained), explained)\n",
        "    return Repeated(method, given, request, explained)\n",
        "noise does not change which class is explained",
        (AVERAGES,),
    ),
    Fault(
        "occlusion_turned_around",
        "xai_med/methods/occlusion.py",
        "+= clean - score",
        "+= score - clean",
        "hiding what speaks for a class lowers its score, and the map is positive there",
        (PERTURBATION,),
    ),
    Fault(
        "shapley_kernel_without_sizes",
        "xai_med/coalitions.py",
        "1 / (comb(players, size) * size * (players - size))",
        "1 / (size * (players - size))",
        "coalitions of each size share one weight among them",
        (PERTURBATION,),
    ),
    Fault(
        "ablation_by_the_score_left",
        "xai_med/methods/ablation_cam.py",
        "clean - score, features",
        "score, features",
        "a channel counts by what the score loses without it",
        (CHANGED_FEATURES,),
    ),
    Fault(
        "random_functions_accepted",
        "xai_med/opaque.py",
        "_SAME = 1e-4",
        "_SAME = 1e4",
        "a function that answers by chance is refused, and one that mixes images is asked one by one",
        ("tests/test_black_box.py",),
    ),
    # ---- checks
    Fault(
        "wrong_derivatives_pass_verification",
        "xai_med/verification/differences.py",
        "if not worst <= tolerance:",
        "if not worst <= tolerance and worst > 1e3:",
        "verify=True refuses a wrong map",
        ("tests/test_certificates.py",),
    ),
    Fault(
        "cam_identity_unchecked",
        "xai_med/methods/cam.py",
        "    residual = np.abs(values.mean(axis=2) + evidence.biases - scores)\n",
        "    residual = np.abs(values.mean(axis=2) + evidence.biases - scores) * 0\n",
        "a map that does not add up to the logit is refused",
        (CAM,),
    ),
    Fault(
        "what_was_not_measured_passes",
        "xai_med/checks.py",
        "return self.is_measured and (self.tolerance",
        "return (self.tolerance",
        "a check that could not be made does not pass",
        ("tests/test_certificates.py",),
    ),
)
