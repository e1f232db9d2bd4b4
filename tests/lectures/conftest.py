import pytest


@pytest.fixture(autouse=True)
def one_thread():
    """As `reproduce` has it: for nets this small a second thread only costs."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
