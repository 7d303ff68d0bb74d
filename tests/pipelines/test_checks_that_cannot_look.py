"""Where a file, a setting or a key is the reason that a check cannot look, it fails and says so."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

NOBODY_LISTENS = "http://127.0.0.1:9/landing/"


def with_setting(home: Path, line: str) -> None:
    (home / "eventstore.toml").write_text(f"{line}\n")


def landing_is_out_of_reach(home: Path) -> None:
    with_setting(home, f'landing = "{NOBODY_LISTENS}"')


def landing_is_a_file(home: Path) -> None:
    (home / "a-file").write_text("")
    with_setting(home, 'landing = "a-file"')


def setting_is_unknown(home: Path) -> None:
    with_setting(home, 'lending = "/srv"')


def file_is_no_toml(home: Path) -> None:
    with_setting(home, "landing = ")


def key_is_damaged(home: Path) -> None:
    (home / "seal.key").write_text("PRIVATE+KEY+nothing")
    (home / "seal.key").chmod(0o600)


def key_is_a_folder(home: Path) -> None:
    (home / "seal.key").mkdir()


@pytest.fixture
def evaluated(
    home: Path, database_url: str, defs: dg.Definitions, tmp_path: Path
) -> Callable[[], dict[str, dg.AssetCheckEvaluation]]:
    """Looks at all checks in one run, whatever they find; those that end with an error are missing."""

    def look() -> dict[str, dg.AssetCheckEvaluation]:
        job = defs.resolve_implicit_global_asset_job_def()
        keys = defs.resolve_asset_graph().asset_check_keys
        subset = job.get_subset(asset_selection=set(), asset_check_selection=set(keys))
        with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
            done = subset.execute_in_process(instance=instance, raise_on_error=False)
        found = {str(one.asset_check_key): one for one in done.get_asset_check_evaluations()}
        failures = {
            event.step_key: event.step_failure_data.error_display_string
            for event in done.all_events
            if event.is_step_failure
        }
        assert failures == {}
        assert set(found) == {str(key) for key in keys}
        return {one.check_name: one for one in found.values()}

    return look


NO_SETTING = 'there is no setting "lending"'


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (landing_is_out_of_reach, {"files_left": f"{NOBODY_LISTENS}: it cannot be reached"}),
        (landing_is_a_file, {"files_left": "a-file: Not a directory"}),
        (setting_is_unknown, {"files_left": NO_SETTING, "alerts": NO_SETTING, "intact": NO_SETTING}),
        (file_is_no_toml, {"files_left": "is not TOML", "alerts": "is not TOML", "intact": "is not TOML"}),
        (key_is_damaged, {}),
        (key_is_a_folder, {}),
    ],
)
def test_no_check_ends_with_an_error(
    evaluated: Callable[[], dict[str, dg.AssetCheckEvaluation]],
    home: Path,
    break_it: Callable[[Path], None],
    says: dict[str, str],
) -> None:
    break_it(home)
    found = evaluated()
    for name, words in says.items():
        assert not found[name].passed
        assert words in str(found[name].description)
        assert "\n" not in str(found[name].description)
    red = dg.AssetCheckSeverity.ERROR
    assert "files_left" not in says or found["files_left"].severity == red  # as `status` says fail
