"""The main job."""


def main() -> None:
    """Replaced soon."""
