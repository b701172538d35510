// Package unstructured holds the names that the engine needs.
package unstructured

// Unstructured would be an object.
type Unstructured struct{}

// UnstructuredContent returns nothing.
func (*Unstructured) UnstructuredContent() map[string]any { return nil }

// UnstructuredList would be objects.
type UnstructuredList struct{}

// UnstructuredContent returns nothing.
func (*UnstructuredList) UnstructuredContent() map[string]any { return nil }
