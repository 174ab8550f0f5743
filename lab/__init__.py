"""A real OpenStack on one machine: Keystone and Neutron from their releases, in regions or clouds.

It is a test bed and a place to play, no part of the product. Each service is one process; databases are SQLite
files, copied from a template that is made once. What runs inside OpenStack's own environment is in `inside/`.
"""
