"""`openstack intertie …`: the plug-in of OpenStackClient. It is a user of `intertie.client`, as `intertie` is.

Its entry points are in pyproject.toml; `intertie[openstack]` beside python-openstackclient is all that it needs.
"""
