from tests.object_store import object_store, s3_environment  # noqa: F401
from tests.tiny import finished_job  # noqa: F401
from tests.web_server import plain_network, server  # noqa: F401
