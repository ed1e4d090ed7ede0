// Package wire reads captures of what a node and its servers send each other while
// the node boots: which packets there are of each kind, and which calls of NFS.
package wire
