// Package schema holds the names that the engine needs.
package schema

// GroupVersion is a version of an API.
type GroupVersion struct{ Group, Version string }

func (v GroupVersion) String() string { return v.Group + "/" + v.Version }

// GroupVersionKind is a kind of it.
type GroupVersionKind struct{ Group, Version, Kind string }

// GroupVersion returns the version.
func (k GroupVersionKind) GroupVersion() GroupVersion { return GroupVersion{k.Group, k.Version} }

func (k GroupVersionKind) String() string { return k.GroupVersion().String() + ", Kind=" + k.Kind }

// FromAPIVersionAndKind keeps both as they are.
func FromAPIVersionAndKind(version, kind string) GroupVersionKind {
	return GroupVersionKind{Version: version, Kind: kind}
}

// GroupVersionResource is a resource of it.
type GroupVersionResource struct{ Group, Version, Resource string }
