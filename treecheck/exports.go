package treecheck

import (
	"os"
	"strings"
)

// exports looks at how the tree is exported.
func (c *check) exports(table string) error {
	if table == "" {
		return nil
	}
	b, err := os.ReadFile(table)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	var squashed, writable []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || c.dir != fields[0] && !strings.HasPrefix(c.dir, strings.TrimSuffix(fields[0], "/")+"/") {
			continue
		}
		for _, client := range fields[1:] {
			host, options, _ := strings.Cut(strings.TrimSuffix(client, ")"), "(")
			if hasOption(options, "root_squash", "all_squash") {
				squashed = append(squashed, fields[0]+" for "+host)
			}
			if hasOption(options, "rw") {
				writable = append(writable, fields[0]+" for "+host)
			}
		}
	}
	c.add(Finding{Name: "root-squash", Severity: Warning, Problem: "root on a node is the user nobody on the server: files that only root may read cannot be read, and services and sudo fail",
		Remedy: "export with no_root_squash (and ro), then exportfs -ra"}, squashed...)
	c.add(Finding{Name: "writable-export", Severity: Warning, Problem: "nodes may write to the export: one node can spoil the tree for all",
		Remedy: "export with ro, then exportfs -ra"}, writable...)
	return nil
}
