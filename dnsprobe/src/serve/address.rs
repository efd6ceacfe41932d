//! Where to listen, and where not without being told.

use std::net::SocketAddr;

/// Why an address is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} is every interface of this node: whoever reaches the node could read which pods it has \
     and how they fare. Give --listen one address, or --listen-on-all-interfaces"
)]
pub struct AddressError(pub SocketAddr);

/// Refuses an address that stands for every interface, unless that is wanted.
///
/// # Errors
/// When it does and is not.
pub fn check_address(address: SocketAddr, every_is_wanted: bool) -> Result<(), AddressError> {
    if address.ip().to_canonical().is_unspecified() && !every_is_wanted {
        return Err(AddressError(address));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_has_to_be_asked_for() {
        for address in ["0.0.0.0:1", "[::]:1", "[::ffff:0.0.0.0]:1"] {
            let address = address.parse().unwrap();
            assert_eq!(check_address(address, false), Err(AddressError(address)));
            assert_eq!(check_address(address, true), Ok(()));
        }
        for address in ["127.0.0.1:1", "10.0.0.7:1", "[::1]:1"] {
            assert_eq!(check_address(address.parse().unwrap(), false), Ok(()));
        }
    }
}
