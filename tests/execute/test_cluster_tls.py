"""A Dask scheduler runs what it is sent: TLS is accepted, and a scheduler that everybody can reach is warned of."""

import logging
import shutil
import subprocess
from pathlib import Path

import pytest

from bids_hypo.errors import UsageError
from bids_hypo.execute import cluster, cluster_jobs
from bids_hypo.workflow.options import RunOptions

pytest.importorskip("distributed")


@pytest.mark.parametrize(
    ("address", "warned"),
    [
        ("tcp://10.0.0.5:8786", True),
        ("tcp://[fd00::5]:8786", True),
        ("ws://10.0.0.5:8786", True),
        ("tls://10.0.0.5:8786", False),
        ("wss://10.0.0.5:8786", False),
        ("tcp://127.0.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("inproc://10.0.0.5/1/2", False),
    ],
)
def test_a_scheduler_that_others_can_reach_is_warned_of(address, warned, caplog):
    with caplog.at_level(logging.WARNING):
        cluster._warn_if_open(address)
    assert (address in caplog.text) == warned


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> dict[str, str]:
    """A certificate that is its own authority, by the keys of Dask's configuration."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "1", "-subj", "/CN=test", "-keyout", "key.pem", "-out", "cert.pem"]  # fmt: skip
    subprocess.run(make, cwd=folder, check=True, capture_output=True)
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    tls = {f"distributed.comm.tls.{role}.{part}": value for role in ("scheduler", "worker", "client")
           for part, value in (("cert", cert), ("key", key))}  # fmt: skip
    return {"distributed.comm.tls.ca-file": cert, **tls}


def test_a_scheduler_with_tls_is_used_by_those_with_a_certificate(certificate, tmp_path, caplog):
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({**certificate, "distributed.comm.require-encryption": True}),
        LocalCluster(n_workers=0, processes=False, protocol="tls://", dashboard_address=None) as there,
        caplog.at_level(logging.WARNING, logger="bids_hypo"),
    ):
        options = RunOptions(tmp_path, tmp_path, device="cpu", scheduler=there.scheduler_address)
        assert str(options.scheduler).startswith("tls://")
        with cluster._connected(options) as client:
            address = client.scheduler_info()["address"]
            cluster._warn_if_open(address)
            assert address.startswith("tls://")
        assert [record for record in caplog.records if record.name.startswith("bids_hypo")] == []
        nothing = dict.fromkeys(certificate)
        with (
            dask.config.set({**nothing, "distributed.comm.require-encryption": False}),
            pytest.raises(UsageError, match="certificates in Dask's configuration"),
            cluster._connected(options),
        ):
            pass


def test_jobs_of_a_queue_are_given_the_certificates(certificate, tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    cert = certificate["distributed.comm.tls.ca-file"]
    monkeypatch.setattr(cluster_jobs.shutil, "which", lambda _: "sbatch")
    given = []

    class Queue:
        def __init__(self, **settings):
            given.append(settings)
            raise ValueError("far enough")

    monkeypatch.setattr("dask_jobqueue.SLURMCluster", Queue)
    config = tmp_path / "jobs.yaml"
    config.write_text(
        "{jobs: 1, cores: 1, memory: 1GB, walltime: '00:10:00', "
        f"security: {{tls_ca_file: {cert}, tls_worker_cert: {cert}, require_encryption: true}}}}"
    )
    with pytest.raises(UsageError, match="far enough"), cluster_jobs.job_cluster("slurm", config):
        pass
    security = given[0]["security"]
    assert security.get_tls_config_for_role("worker")["ca_file"] == cert
    assert security.require_encryption is True
    config.write_text(config.read_text().replace("tls_ca_file", "tls_ca_fiel"))
    with pytest.raises(UsageError, match="tls_ca_fiel"), cluster_jobs.job_cluster("slurm", config):
        pass


def test_certificates_on_the_fly_need_a_package_and_say_so(tmp_path, monkeypatch):
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setattr(cluster_jobs.shutil, "which", lambda _: "sbatch")
    monkeypatch.setitem(__import__("sys").modules, "cryptography", None)
    config = Path(tmp_path, "jobs.yaml")
    config.write_text("{jobs: 1, cores: 1, memory: 1GB, walltime: '00:10:00', security: true}")
    with pytest.raises(UsageError, match="cryptography"), cluster_jobs.job_cluster("slurm", config):
        pass
