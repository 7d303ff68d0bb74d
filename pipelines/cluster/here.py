"""Whether an address is one of this machine."""

import ipaddress

import psutil


def is_here(address: str) -> bool:
    """An IP address of one of its interfaces, or of the loopback."""
    try:
        if ipaddress.ip_address(address).is_loopback:
            return True
    except ValueError:
        return False
    mine = {each.address.partition("%")[0] for found in psutil.net_if_addrs().values() for each in found}
    return address in mine
