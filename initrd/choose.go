package initrd

import (
	"slices"
	"strings"
)

// chooseProfiles puts the profiles that were asked for in order, with the
// standard one where none of them has NICs. The files of host= are read.
func chooseProfiles(options []string) ([]Profile, error) {
	var asked []string
	var hosts []host
	for _, name := range options {
		if file, ok := strings.CutPrefix(name, hostPrefix); ok {
			h, err := readHost(file)
			if err != nil {
				return nil, err
			}
			hosts, name = append(hosts, h), HostProfile
		}
		asked = append(asked, name)
	}
	for _, name := range asked {
		if !slices.Contains(profileNames(), name) {
			return nil, InvalidOptionf("Profiles", "unknown profile %q: choose one or more of %s", name, strings.Join(profileNames(), ", "))
		}
	}
	if !slices.ContainsFunc(profiles, func(p Profile) bool { return !p.Addition && slices.Contains(asked, p.Name) }) {
		asked = append([]string{DefaultProfile}, asked...)
	}
	var chosen []Profile
	for _, p := range profiles {
		if slices.Contains(asked, p.Name) {
			if p.Name == HostProfile {
				p.hosts = hosts
			}
			chosen = append(chosen, p)
		}
	}
	return chosen, nil
}

// joinNames are the names of profiles with commas between them.
func joinNames(chosen []Profile) string { return strings.Join(namesOf(chosen), ",") }

func namesOf(chosen []Profile) []string {
	var names []string
	for _, p := range chosen {
		names = append(names, p.Name)
	}
	return names
}

// joinSets gives the sets of all, each once.
func joinSets(chosen []Profile) []string {
	var names []string
	for _, p := range chosen {
		for _, name := range p.sets {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

func profileNames() []string { return namesOf(profiles) }

// isSmall tells whether an image is for certain nodes only, and so to be as small as
// can be.
func isSmall(chosen []Profile) bool {
	return !slices.ContainsFunc(chosen, func(p Profile) bool { return !p.Addition && p.Name != HostProfile })
}
