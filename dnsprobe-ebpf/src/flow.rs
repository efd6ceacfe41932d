//! Addresses, flows and keys in words of eight bytes: half as many to compare and
//! to store as `dnsprobe_common::flow` has fields.

use core::{mem::transmute, ptr::read_volatile};

use dnsprobe_common::flow::{
    Address, KeyWords, QueryKey, Role, Transport, Tuple, V4_MAPPED_WORD, is_namespace_local,
};

/// An address in two words.
pub(crate) type Wide = [u64; 2];

/// The same as an [`Address`].
#[inline(always)]
pub(crate) fn narrow(address: Wide) -> Address {
    // SAFETY: as large, and any bits are an address.
    unsafe { transmute(address) }
}

/// An [`Address`] in words.
#[inline(always)]
pub(crate) fn wide(address: Address) -> Wide {
    // SAFETY: as in `narrow`.
    unsafe { transmute(address) }
}

/// The IPv4-mapped form of a network-order IPv4 address.
#[inline(always)]
pub(crate) fn v4_mapped(network_order: u32) -> Wide {
    [0, V4_MAPPED_WORD as u64 | (network_order as u64) << 32]
}

/// Who asks whom.
#[derive(Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) client: Wide,
    pub(crate) server: Wide,
    /// Host order, as is the other.
    pub(crate) client_port: u16,
    pub(crate) server_port: u16,
    /// Whether the client's address is only unique in its network namespace.
    pub(crate) is_local: bool,
}

impl Flow {
    /// The flow of a query with these addresses.
    #[inline(always)]
    pub(crate) fn of(asked: &Tuple) -> Self {
        Self {
            client: wide(asked.source),
            server: wide(asked.destination),
            client_port: asked.source_port,
            server_port: asked.destination_port,
            is_local: is_namespace_local(&asked.source),
        }
    }

    /// The addresses of its queries.
    #[inline(always)]
    pub(crate) fn asked(&self) -> Tuple {
        Tuple {
            source: narrow(self.client),
            destination: narrow(self.server),
            source_port: self.client_port,
            destination_port: self.server_port,
        }
    }

    /// The addresses of its answers.
    #[inline(always)]
    pub(crate) fn answered(&self) -> Tuple {
        Tuple {
            source: narrow(self.server),
            destination: narrow(self.client),
            source_port: self.server_port,
            destination_port: self.client_port,
        }
    }

    /// The key of one of its transactions.
    #[inline(always)]
    pub(crate) fn key(&self, id: u16, role: Role, transport: Transport, netns: u32) -> Key {
        Key([
            self.client_port as u64
                | (self.server_port as u64) << 16
                | (id as u64) << 32
                | (role as u64) << 48
                | (transport as u64) << 56,
            if self.is_local { netns as u64 } else { 0 },
            self.client[0],
            self.client[1],
            self.server[0],
            self.server[1],
        ])
    }
}

/// A [`QueryKey`] in words.
#[derive(Clone, Copy)]
pub(crate) struct Key(pub(crate) KeyWords);

impl Key {
    /// The same for maps and records.
    #[inline(always)]
    pub(crate) fn narrow(&self) -> QueryKey {
        QueryKey::from_words(self.0)
    }

    /// Its transaction's id.
    #[inline(always)]
    pub(crate) fn id(&self) -> u16 {
        (self.0[0] >> 32) as u16
    }

    /// Whether it is of a client's end.
    #[inline(always)]
    pub(crate) fn is_client(&self) -> bool {
        (self.0[0] >> 48) as u8 == Role::Client as u8
    }

    /// The address that is asked.
    #[inline(always)]
    pub(crate) fn server(&self) -> Wide {
        [self.0[4], self.0[5]]
    }

    /// The port that is asked.
    #[inline(always)]
    pub(crate) fn server_port(&self) -> u16 {
        (self.0[0] >> 16) as u16
    }

    /// The client's address.
    #[inline(always)]
    pub(crate) fn client(&self) -> Wide {
        [self.0[2], self.0[3]]
    }

    /// Whether stored words are the same.
    ///
    /// # Safety
    /// `stored` points into a live map value.
    #[inline(always)]
    pub(crate) unsafe fn is(&self, stored: *const KeyWords) -> bool {
        let mut difference = 0;
        let mut word = 0;
        while word < self.0.len() {
            // SAFETY: see above.
            difference |= unsafe { (*stored)[word] } ^ self.0[word];
            word += 1;
        }
        difference == 0
    }

    /// Whether the first word, which differs most, is that of a stored key.
    ///
    /// # Safety
    /// `stored` points into a live map value.
    #[inline(always)]
    pub(crate) unsafe fn has_word_of(&self, stored: *const QueryKey) -> bool {
        // SAFETY: see above.
        unsafe { read_volatile(stored.cast::<u64>()) == self.0[0] }
    }

    /// Whether a stored key with that first word is the same. Without branches
    /// between the words, of which the verifier would follow each.
    ///
    /// # Safety
    /// `stored` points into a live map value.
    #[inline(always)]
    pub(crate) unsafe fn has_rest_of(&self, stored: *const QueryKey) -> bool {
        let mut difference = 0;
        let mut word = 1;
        while word < self.0.len() {
            // SAFETY: see above.
            difference |= unsafe { read_volatile(stored.cast::<u64>().add(word)) } ^ self.0[word];
            word += 1;
        }
        difference == 0
    }
}
