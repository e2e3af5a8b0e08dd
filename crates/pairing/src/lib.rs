//! How two devices meet: links, codes, the Noise handshake, comparison pictures, remembered devices.
