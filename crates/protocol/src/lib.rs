//! Wire types, limits and framing shared by every part of Lanyard.
