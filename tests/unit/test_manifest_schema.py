"""Kubernetes' own schemas accept every manifest, for the oldest version it names and the newest."""

import copy

import kubernetes_validate
import pytest
from kubernetes_validate.utils import all_versions
from support.manifests import every_kind, settings, sidecar

from supervisor.deploy.compatibility import judge
from supervisor.deploy.pod import pod_documents, sandbox_documents
from supervisor.deploy.settings import Sideload

NEWEST = kubernetes_validate.latest_version()
VERSIONS = sorted({tuple(map(int, version.split(".")[:2])) for version in all_versions()})


def accepted(document, version):
    kubernetes_validate.validate(document, version, strict=True)


def oldest_of(made):
    return judge(made).version


@pytest.mark.parametrize("made", list(every_kind()))
def test_every_manifest_is_valid_for_the_oldest_version_it_names_and_the_newest(made):
    for document in pod_documents(made):
        accepted(document, oldest_of(made))
        accepted(document, NEWEST)


@pytest.mark.parametrize("made", [settings(), sidecar(native_sidecar=True)])
def test_the_pod_in_a_sandbox_is_valid(made):
    template = sandbox_documents(made, version="v1beta1")[-1]["spec"]["podTemplate"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template}

    accepted(pod, oldest_of(made))
    accepted(pod, NEWEST)


def test_the_schema_does_refuse_what_is_wrong():
    pod = copy.deepcopy(pod_documents(settings())[-1])
    pod["spec"]["containers"][0]["comand"] = []

    with pytest.raises(kubernetes_validate.ValidationError):
        accepted(pod, NEWEST)


@pytest.mark.parametrize(
    ("made", "oldest"),
    [
        (settings(), "1.25"),
        (sidecar(), "1.25"),
        (sidecar(native_sidecar=True), "1.29"),
        (settings(user_namespace=True), "1.33"),
        (settings(sideload=Sideload.IMAGE_VOLUME), "1.35"),
        (sidecar(sideload=Sideload.IMAGE_VOLUME, native_sidecar=True), "1.35"),
    ],
)
def test_the_oldest_version_is_the_one_that_the_options_need(made, oldest):
    assert oldest_of(made) == oldest
    assert tuple(map(int, oldest.split("."))) in VERSIONS


def test_one_version_earlier_the_schema_does_not_know_a_native_sidecar_or_an_image_volume():
    for made, too_old in (
        (sidecar(native_sidecar=True), "1.27"),
        (settings(sideload=Sideload.IMAGE_VOLUME), "1.30"),
    ):
        with pytest.raises(kubernetes_validate.ValidationError):
            accepted(pod_documents(made)[-1], too_old)


def test_what_podman_leaves_out_or_cannot_do_is_said():
    plain, native = judge(sidecar()), judge(sidecar(native_sidecar=True))

    assert plain.impossible == ()
    assert "startupProbe" in plain.ignored
    assert "native sidecar" in native.impossible[0]
    assert "image volume" in judge(settings(sideload=Sideload.IMAGE_VOLUME)).impossible[0]
    assert "Sandbox" in judge(settings(), in_sandbox=True).impossible[0]
    assert "'$$'" in judge(settings(command=("kill", "$$"))).impossible[0]
