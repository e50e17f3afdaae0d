"""The trust store in real containers: each form has it, and programs are led to it when it matters."""

import pytest
from support.attack_forms import COMBINED, forms
from support.records import events_of
from support.sandbox import refusal_of, sandboxed

SCRATCH = "localhost/sandbox-test/scratch"
SHOW = "cat $SSL_CERT_FILE; echo; echo $SSL_CERT_FILE; echo x 2>/dev/null > $SSL_CERT_FILE || echo kept"


def certificate(name):
    return f"-----BEGIN CERTIFICATE-----\n{name}\n-----END CERTIFICATE-----\n"


@pytest.fixture
def system(tmp_path):
    """podman's options for an image whose bundle is a link, as Debian's /etc/ssl/cert.pem is."""
    ssl, shared = tmp_path / "ssl", tmp_path / "shared"
    (ssl / "certs").mkdir(parents=True)
    shared.mkdir()
    (shared / "bundle.crt").write_text(certificate("system"))
    (ssl / "certs/ca-certificates.crt").symlink_to("/etc/shared/bundle.crt")
    return f"--volume={ssl}:/etc/ssl:ro", f"--volume={shared}:/etc/shared:ro"


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/ca.pem").write_text(certificate("corporate"))
    return f"--volume={tmp_path / 'own'}:/run/own:ro"


def control_in(result):
    events = events_of(result.checked().stderr)
    report = next(event["report"] for event in events if event["event"] == "sandbox.started")
    return next(one for one in report["controls"] if one["name"] == "trust-store"), report


@pytest.mark.parametrize("form", COMBINED)
def test_every_form_has_the_images_certificates_and_the_operators_behind_them(form, system, own):
    with forms() as known:
        chosen = known[form]
        result = sandboxed(
            "sh", "-c", SHOW,
            options=(*chosen.options, *system, own), identity=chosen.identity,
            arguments=(*chosen.arguments, "--extra-ca=/run/own/ca.pem"),
        )  # fmt: skip
    control, report = control_in(result)

    content, path, kept = result.stdout.rsplit("\n", 3)[:3]
    assert content == certificate("system") + certificate("corporate")
    assert kept == "kept"
    assert control["state"] == "enforced"
    assert control["mechanism"].startswith(f"{path}: /etc/shared/bundle.crt and --extra-ca (1)")
    assert control["probes"] == len(report["proof"]["probes"]["trust-store"]) == 4


def test_without_an_authority_of_ours_it_is_prepared_and_offered_to_nobody(system):
    result = sandboxed("sh", "-c", "env", options=system)
    control, _ = control_in(result)

    assert "SSL_CERT_FILE" not in result.stdout
    assert control["mechanism"].endswith("; prepared, offered to no program")


def test_what_the_operator_names_with_env_wins(system, own):
    result = sandboxed(
        "sh", "-c", "echo $SSL_CERT_FILE $CURL_CA_BUNDLE", options=(*system, own),
        arguments=("--extra-ca=/run/own/ca.pem", "--env=SSL_CERT_FILE=/mine"),
    )  # fmt: skip

    mine, offered = result.checked().stdout.split()
    assert mine == "/mine"
    assert offered.endswith("/ca-bundle.pem")


def test_an_image_without_a_bundle_is_reported_and_refused_when_required(tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nsupervisor: {require: {controls: [trust-store]}}\n")
    mounted = f"--volume={tmp_path}:/run/policy:ro"
    tmp_path.chmod(0o755)

    control, _ = control_in(sandboxed("/hello", image=SCRATCH))
    refused = sandboxed(
        "/hello", image=SCRATCH, options=(mounted,), arguments=("--policy=/run/policy/policy.yaml",)
    )

    assert (control["state"], control["allowed_by"]) == ("absent", "default")
    assert "no certificate bundle" in control["mechanism"]
    assert refusal_of(refused)["code"] == "startup.control-required"


def test_an_image_without_a_bundle_still_gets_the_operators(own):
    control, _ = control_in(
        sandboxed(
            "/hello", image=SCRATCH, options=(own,), arguments=("--extra-ca=/run/own/ca.pem",)
        )
    )

    assert control["state"] == "enforced"
    assert "no bundle of the image" in control["mechanism"]


def test_a_file_that_the_image_made_is_no_authority_of_the_operator():
    refused = sandboxed("true", arguments=("--extra-ca=/etc/hostname",))

    assert refusal_of(refused)["code"].startswith("trust.")
