// Package version reads no version of a cluster.
package version

import "errors"

// Version would be a cluster's.
type Version struct{}

// ParseGeneric fails.
func ParseGeneric(string) (*Version, error) { return nil, errors.New("there is no cluster") }

// Major returns nothing.
func (*Version) Major() uint { return 0 }

// Minor returns nothing.
func (*Version) Minor() uint { return 0 }

func (*Version) String() string { return "" }
