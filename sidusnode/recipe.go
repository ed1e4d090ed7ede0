package sidusnode

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/sidusboot/sidusboot/network"
	"github.com/sidusboot/sidusboot/nodefiles"
)

// RecipeFile is written by /init, for root only: the node's identifiers are made
// of what is in it.
const RecipeFile = Dir + "/recipe"

// A Recipe is how /init has made this node's union, as far as another one for
// another version of the tree needs it. No secret of a volume is in it.
type Recipe struct {
	// Options are those by which NFS mounts a version.
	Options string
	// Init is the program that was asked for as the tree's init, or empty.
	Init string
	// Size is that of the tmpfs, as sidus.rw.size= has it.
	Size      string
	UsrDirect bool
	Files     nodefiles.Node
}

var (
	recipeTexts = [...]string{"options", "init", "size", "machine", "initiator"}
	recipeFlags = [...]string{"usr_direct", "tree_owns_leases", "nofail"}
)

func (r *Recipe) texts() [len(recipeTexts)]*string {
	return [...]*string{&r.Options, &r.Init, &r.Size, &r.Files.Machine, &r.Files.Initiator}
}

func (r *Recipe) flags() [len(recipeFlags)]*bool {
	return [...]*bool{&r.UsrDirect, &r.Files.TreeOwnsLeases, &r.Files.NoFail}
}

// String is the Recipe as parseRecipe reads it. Of a lease it has what files in the
// tree need.
func (r *Recipe) String() string {
	var out record
	for i, p := range r.texts() {
		out.add(recipeTexts[i], *p)
	}
	for i, p := range r.flags() {
		out.add(recipeFlags[i], strconv.FormatBool(*p))
	}
	for kind, omit := range r.Files.Omit {
		if omit {
			out.add("omit", kind)
		}
	}
	for _, device := range r.Files.Untouched {
		out.add("untouched", device)
	}
	for _, l := range r.Files.Leases {
		out.add("lease", leaseRecord(l).String())
	}
	return out.String()
}

func leaseRecord(l *network.Lease) (r record) {
	r.add("device", l.Device)
	r.add("mac", l.MAC.String())
	r.add("addr", l.Addr.String())
	r.add("hostname", l.Hostname)
	r.add("domain", l.Domain)
	for _, a := range l.DNS {
		r.add("dns", a.String())
	}
	for _, name := range l.Search {
		r.add("search", name)
	}
	return r
}

// readRecipe reads what /init has left.
func readRecipe() (*Recipe, error) {
	text, err := os.ReadFile(RecipeFile)
	if err != nil {
		return nil, err
	}
	r, err := parseRecipe(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", RecipeFile, err)
	}
	return r, nil
}

func parseRecipe(text string) (*Recipe, error) {
	in, err := parseRecord(text)
	if err != nil {
		return nil, err
	}
	r := &Recipe{}
	for i, p := range r.texts() {
		*p = in.get(recipeTexts[i])
	}
	for i, p := range r.flags() {
		*p = in.get(recipeFlags[i]) == "true"
	}
	r.Files.Init = r.Init
	r.Files.Omit = make(map[string]bool)
	for _, kind := range in.all("omit") {
		r.Files.Omit[kind] = true
	}
	r.Files.Untouched = in.all("untouched")
	for _, text := range in.all("lease") {
		l, err := parseLease(text)
		if err != nil {
			return nil, err
		}
		r.Files.Leases = append(r.Files.Leases, l)
	}
	if len(r.Files.Leases) == 0 {
		return nil, errors.New("it has no lease")
	}
	return r, nil
}

func parseLease(text string) (*network.Lease, error) {
	in, err := parseRecord(text)
	if err != nil {
		return nil, err
	}
	l := &network.Lease{Device: in.get("device"), Hostname: in.get("hostname"), Domain: in.get("domain"), Search: in.all("search")}
	var macErr, addrErr error
	l.MAC, macErr = net.ParseMAC(in.get("mac"))
	l.Addr, addrErr = netip.ParsePrefix(in.get("addr"))
	errs := []error{macErr, addrErr}
	for _, text := range in.all("dns") {
		a, err := netip.ParseAddr(text)
		errs = append(errs, err)
		l.DNS = append(l.DNS, a)
	}
	return l, errors.Join(errs...)
}
