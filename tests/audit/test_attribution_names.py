import numpy as np
import pytest

from audit.attributions._names import build, canonical
from audit.attributions._smoothgrad import SmoothGrad
from audit.attributions.blur_integrated_gradients import BlurIntegratedGradients
from audit.attributions.grad_cam import GradCam
from audit.attributions.gradient import Gradient
from audit.attributions.integrated_gradients import IntegratedGradients
from audit.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("integrated_gradients", "integrated_gradients"),
        ("ig", "integrated_gradients"),
        ("IG", "integrated_gradients"),
        ("integrated-gradients", "integrated_gradients"),
        ("Integrated Gradients", "integrated_gradients"),
        ("integratedGradientsAttribution", "integrated_gradients"),
        ("blur_ig", "blur_integrated_gradients"),
        ("blur-ig", "blur_integrated_gradients"),
        ("guided_ig", "guided_integrated_gradients"),
        ("gradcam", "grad_cam"),
        ("grad-cam", "grad_cam"),
        ("Grad-CAM", "grad_cam"),
        ("gradcam++", "grad_cam_plus_plus"),
        ("grad_cam++", "grad_cam_plus_plus"),
        ("Grad-CAM++", "grad_cam_plus_plus"),
        ("saliency", "gradient"),
        ("vanilla gradient", "gradient"),
        ("vanilla_gradients", "gradient"),
        ("sg", "gradient+smoothgrad"),
        ("smoothgrad", "gradient+smoothgrad"),
        ("ig+sg", "integrated_gradients+smoothgrad"),
        ("blur_integrated_gradients+smoothgrad", "blur_integrated_gradients+smoothgrad"),
        ("Blur-IG + SmoothGrad", "blur_integrated_gradients+smoothgrad"),
        ("grad-cam+++smoothgrad", "grad_cam_plus_plus+smoothgrad"),
    ],
)
def test_spellings_of_the_field_have_one_canonical_name(written, name):
    assert canonical(written) == name
    assert canonical(canonical(written)) == name


def test_the_hosted_spellings_of_xrai_are_known():
    assert {canonical(name) for name in ("xrai", "XRAI", "xrai-attribution", "xraiAttribution")} == {"xrai"}


def test_the_error_budget_goes_to_methods_that_have_one():
    assert build("ig", {}, 0.02) == IntegratedGradients(error_budget=0.02)
    assert build("blur_ig", {}, 0.02) == BlurIntegratedGradients(error_budget=0.02)
    assert build("gradient", {}, 0.02) == Gradient()


def test_parameters_are_the_methods_fields_and_win_over_the_budget():
    parameters = {"ig": {"n_steps": 25, "baseline": ["black", "white"], "error_budget": 0.2}, "grad_cam": {}}

    assert build("integrated_gradients", parameters, 0.02) == IntegratedGradients(
        n_steps=25, baseline=("black", "white"), error_budget=0.2
    )


def test_smoothgrad_wraps_a_method_and_each_gets_its_own_parameters():
    parameters = {"blur-ig": {"max_sigma": 0.1}, "smoothgrad": {"n_samples": 3, "sigma": 0.1}}

    assert build("blur_ig+sg", parameters, 0.02) == SmoothGrad(
        BlurIntegratedGradients(max_sigma=0.1, error_budget=0.02), n_samples=3, sigma=0.1
    )
    assert build("grad_cam+smoothgrad", {}, 0.02) == SmoothGrad(GradCam())


def test_smoothgrad_takes_fewer_copies_around_a_path_unless_told():
    assert build("gradient+smoothgrad", {}, 0.05).n_samples == 25
    assert build("blur_integrated_gradients+smoothgrad", {}, 0.05).n_samples == 4
    assert build("ig+sg", {"smoothgrad": {"n_samples": 25}}, 0.05).n_samples == 25


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("integrated_gradientz", {}, "Did you mean 'integrated_gradients'"),
        ("", {}, "expected a method"),
        ("ig+", {}, "expected a method"),
        ("ig+grad_cam", {}, r"a method and \+smoothgrad; found 'ig\+grad_cam'"),
        ("smoothgrad+smoothgrad", {}, "expected a method"),
        ("ig", {"ig": {"steps": 3}}, "expected baseline, error_budget, max_gradients, n_steps; found steps"),
        ("ig+sg", {"sg": {"method": 1}}, "expected n_samples, sigma, squared; found method"),
        ("ig", {"gradd_cam": {}}, "Did you mean 'grad_cam'"),
        ("ig", {"ig": {}, "integrated-gradients": {}}, "given twice"),
        ("gradient", {"gradient": {"steps": 3}}, "no parameters"),
    ],
)
def test_what_is_unknown_is_named_with_what_is_known(name, parameters, message):
    with pytest.raises(ConfigError, match=message):
        build(name, parameters, 0.05)


def test_a_picture_can_be_given_as_the_baseline():
    picture = np.full((4, 4, 3), 0.25, np.float32)

    method = build("ig", {"ig": {"baseline": picture}}, 0.05)

    assert method.baseline is picture
