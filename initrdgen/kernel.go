package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// modulesDir is where a tree keeps the modules of its kernels.
const modulesDir = "lib/modules"

// chooseKernels gives the releases to pack: the only one in the tree, the one
// that was asked for, or all.
func chooseKernels(t *tree, want string) ([]string, error) {
	if !t.isDir(modulesDir) {
		return nil, fmt.Errorf("%s has no %s: is it a root tree with a kernel package installed?", t.dir, modulesDir)
	}
	entries, err := t.readDir(modulesDir)
	if err != nil {
		return nil, err
	}
	var whole, broken []string
	for _, e := range entries {
		switch name := path.Join(modulesDir, e.Name()); {
		case !t.isDir(name):
		case t.isFile(path.Join(name, "modules.dep")):
			whole = append(whole, e.Name())
		default:
			broken = append(broken, e.Name())
		}
	}
	switch {
	case slices.Contains(broken, want):
		return nil, noModulesDep(t, want)
	case want == "" && len(whole) == 0 && len(broken) > 0:
		return nil, noModulesDep(t, broken[0])
	case len(whole) == 0:
		return nil, fmt.Errorf("%s has no kernel: install a kernel package in the tree", t.path(modulesDir))
	case want == "all":
		return whole, nil
	case want == "" && len(whole) > 1:
		return nil, fmt.Errorf("%s has %d kernels: choose with --kernel one of %s, or all",
			t.path(modulesDir), len(whole), strings.Join(whole, ", "))
	case want == "":
		return whole, nil
	case !slices.Contains(whole, want):
		return nil, fmt.Errorf("%s has no kernel %s: choose with --kernel one of %s, or all",
			t.path(modulesDir), want, strings.Join(whole, ", "))
	}
	return []string{want}, nil
}

func noModulesDep(t *tree, release string) error {
	return fmt.Errorf("%s is missing: run depmod -b %s %s, or remove what is left of that kernel",
		t.path(path.Join(modulesDir, release, "modules.dep")), t.dir, release)
}
