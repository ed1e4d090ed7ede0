package initrd

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// modulesDir is where a tree keeps the modules of its kernels.
const modulesDir = "lib/modules"

// chooseKernels gives the releases to pack: the only one in the tree, the one
// that was asked for, or all. What is left of a removed kernel is told in a
// warning, and counts only where there is nothing else, or it is asked for.
func chooseKernels(t *tree, want string) (releases, warnings []string, err error) {
	found, err := findKernels(t, want)
	if err != nil {
		return nil, nil, err
	}
	whole, links := found.whole, found.links
	switch {
	case slices.Contains(found.remains, want):
		whole = append(whole, want)
	case len(whole) == 0:
		whole = found.remains
	case want == "" || want == "all":
		for _, release := range found.broken {
			warnings = append(warnings, fmt.Sprintf("kernel %s is left out: %v", release, noModulesDep(t, release)))
		}
		for _, release := range found.remains {
			warnings = append(warnings, fmt.Sprintf("kernel %s is left out: none of the modules in %s is there: remove %s if the kernel was removed, or install its package again",
				release, t.path(path.Join(modulesDir, release, "modules.dep")), t.path(path.Join(modulesDir, release))))
		}
	}
	if want == "" || want == "all" {
		whole = slices.DeleteFunc(whole, func(release string) bool {
			err := image.CheckName(release)
			if err != nil && len(whole) > 1 {
				warnings = append(warnings, fmt.Sprintf("%s: %q is left out: it %v, so it is not the release of a kernel", t.path(modulesDir), release, err))
			}
			return err != nil && len(whole) > 1
		})
	}
	releases = []string{want}
	switch {
	case len(whole) == 0 && len(links) > 0:
		return nil, nil, OptionErrorf("Kernel", "%s has no kernel, only the link %s: to use the kernel that it leads to, choose %s",
			t.path(modulesDir), links[0], links[0])
	case len(whole) == 0:
		return nil, nil, fmt.Errorf("%s has no kernel: install a kernel package in the tree", t.path(modulesDir))
	case want == "" && len(whole) > 1:
		return nil, nil, OptionErrorf("Kernel", "%s has %d kernels: choose one of %s, or all",
			t.path(modulesDir), len(whole), strings.Join(whole, ", "))
	case want == "" || want == "all":
		releases = whole
	case slices.Contains(links, want):
		if releases[0], err = releaseBehind(t, want); err != nil {
			return nil, nil, err
		}
	case !slices.Contains(whole, want):
		return nil, nil, OptionErrorf("Kernel", "%s has no kernel %s: choose one of %s, or all",
			t.path(modulesDir), want, strings.Join(whole, ", "))
	}
	for _, release := range releases {
		if err := image.CheckName(release); err != nil {
			return nil, nil, fmt.Errorf("%s: kernel release %q %w: rename the directory to what uname -r prints", t.path(modulesDir), release, err)
		}
	}
	return releases, warnings, nil
}

// The kernels of a tree, by release.
type kernels struct {
	whole []string
	// links are second names, and count only where they are asked for.
	links []string
	// remains are the folders whose modules.dep names nothing that is there.
	remains []string
	// broken are those without modules.dep.
	broken []string
}

// findKernels lists the releases in a tree.
func findKernels(t *tree, want string) (found kernels, err error) {
	noTree := fmt.Errorf("%s has no %s: is it a root tree with a kernel package installed?", t.dir, modulesDir)
	fi, err := t.stat(modulesDir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !fi.IsDir() {
		return kernels{}, noTree
	}
	if err != nil {
		return kernels{}, err
	}
	entries, err := t.readDir(modulesDir)
	if err != nil {
		return kernels{}, err
	}
	for _, e := range entries {
		release := e.Name()
		dir := path.Join(modulesDir, release)
		if fi, err := t.stat(dir); err != nil || !fi.IsDir() {
			continue // A stray file, or a dead link.
		}
		fi, err := t.stat(path.Join(dir, "modules.dep"))
		switch {
		case errors.Is(err, fs.ErrPermission) && (want == "" || want == "all" || want == release):
			return kernels{}, fmt.Errorf("kernel %s: %w", release, err)
		case e.Type()&fs.ModeSymlink != 0:
			if err == nil {
				found.links = append(found.links, release)
			}
		case err == nil && fi.Mode().IsRegular() && isKernel(t, release):
			found.whole = append(found.whole, release)
		case err == nil && fi.Mode().IsRegular():
			found.remains = append(found.remains, release)
		default:
			found.broken = append(found.broken, release)
		}
	}
	if slices.Contains(found.broken, want) {
		return kernels{}, noModulesDep(t, want)
	}
	if want == "" && len(found.whole)+len(found.remains) == 0 && len(found.broken) > 0 {
		return kernels{}, noModulesDep(t, found.broken[0])
	}
	if slices.Contains(found.links, want) {
		found.whole = append(found.whole, want)
	}
	return found, nil
}

// isKernel tells a kernel from what is left of one: modules.dep names one of its
// modules that is there, or the kernel itself is there, with everything built
// in. A module of DKMS does not count: it outlives the kernel that it is for.
func isKernel(t *tree, release string) bool {
	dir := path.Join(modulesDir, release)
	text, err := t.readFile(path.Join(dir, "modules.dep"))
	if err != nil {
		return true // Whoever reads it next has the error.
	}
	k := &kernel{release: release}
	k.parseDep(string(text))
	for _, name := range k.order {
		if isOutside(k.files[name]) {
			continue
		}
		if _, err := t.stat(path.Join(dir, k.files[name])); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	for _, file := range []string{"vmlinuz", "vmlinux", "Image"} {
		for _, place := range []string{path.Join(dir, file), path.Join("boot", file+"-"+release)} {
			if _, err := t.stat(place); err == nil {
				return true
			}
		}
	}
	return false
}

// releaseBehind gives the release that a link stands for: the name of the
// folder beside it that it leads to, or its own where it leads elsewhere.
func releaseBehind(t *tree, link string) (string, error) {
	real, err := t.resolve(path.Join(modulesDir, link))
	if err != nil {
		return "", err
	}
	dir, err := t.resolve(modulesDir)
	if err != nil {
		return "", err
	}
	if path.Dir(real) == dir {
		return path.Base(real), nil
	}
	return link, nil
}

func noModulesDep(t *tree, release string) error {
	return fmt.Errorf("%s is missing: run depmod -b %s %s, or remove the directory if the kernel was removed",
		t.path(path.Join(modulesDir, release, "modules.dep")), t.dir, release)
}
