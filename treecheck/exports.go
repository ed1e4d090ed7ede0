package treecheck

import (
	"strings"

	"github.com/sidusboot/sidusboot/exports"
)

// exports looks at how the tree is exported.
func (c *check) exports(sources exports.Sources) error {
	if sources.Table == "" {
		return nil
	}
	table, err := exports.Read(sources)
	if err != nil {
		return err
	}
	var squashed, writable []string
	for _, e := range table.Exports {
		if c.dir != e.Path && !strings.HasPrefix(c.dir, strings.TrimSuffix(e.Path, "/")+"/") {
			continue
		}
		for _, client := range e.Clients {
			host, options := exports.SplitClient(client)
			if hasOption(options, "root_squash", "all_squash") {
				squashed = append(squashed, e.Name+" for "+host)
			}
			if hasOption(options, "rw") {
				writable = append(writable, e.Name+" for "+host)
			}
		}
	}
	c.add(Finding{Name: "root-squash", Severity: Warning, Problem: "root on a node is the user nobody on the server: files that only root may read cannot be read, and services and sudo fail",
		Remedy: "export with no_root_squash (and ro), then exportfs -ra"}, squashed...)
	c.add(Finding{Name: "writable-export", Severity: Warning, Problem: "nodes may write to the export: one node can damage the tree for all",
		Remedy: "export with ro, then exportfs -ra"}, writable...)
	return nil
}
