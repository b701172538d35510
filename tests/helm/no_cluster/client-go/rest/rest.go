// Package rest knows no cluster.
package rest

// Config would say where a cluster is.
type Config struct{}
