// Package v1beta1 adds nothing.
package v1beta1

// AddToScheme does nothing.
func AddToScheme(any) error { return nil }
