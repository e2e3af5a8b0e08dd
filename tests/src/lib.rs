//! Namespaces, processes and browsers for the tests.
