// Package errors knows no answer of a cluster.
package errors

// IsNotFound is never so.
func IsNotFound(error) bool { return false }
