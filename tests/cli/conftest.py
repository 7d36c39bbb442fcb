import pytest


@pytest.fixture(autouse=True)
def no_user_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the cache or the images of the user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("CCB_DATA", raising=False)
