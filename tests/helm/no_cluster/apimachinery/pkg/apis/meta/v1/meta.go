// Package v1 holds the names that the engine needs.
package v1

// GetOptions are none.
type GetOptions struct{}

// ListOptions are none.
type ListOptions struct{}

// APIResource would name a resource.
type APIResource struct {
	Name, Kind, Group, Version string
	Namespaced                 bool
}

// APIResourceList would name all of a version.
type APIResourceList struct {
	APIResources []APIResource
}
