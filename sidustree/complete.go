package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sidusboot/sidusboot/versions"
)

// directory completes a first argument that is a directory, and no other.
func directory(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// baseAndIDs completes a base, and then up to n IDs of its versions.
func baseAndIDs(n int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 || len(args) > n {
			return directory(cmd, args, typed)
		}
		b, err := versions.Open(args[0])
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		defer b.Close()
		all, err := b.IDs()
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var ids []string
		for _, id := range all {
			if strings.HasPrefix(id, typed) {
				ids = append(ids, id)
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}
