package initrd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/sidusboot/sidusboot/image"
)

// CheckOptions say for which node Check reads an image.
type CheckOptions struct {
	// Devices are the modaliases of the node, as sysfs has them.
	Devices []string
	// Root is the tree that the node is to boot. Empty: only what the image says of its own
	// modules is known, and not which module a device without a driver would need.
	Root string
	// Kernel is the release of one of the kernels in the image. Empty: the only one.
	Kernel string
}

// A Verdict says whether a node would boot, as far as its devices, the image and the
// tree tell.
type Verdict struct {
	// Boots says that there are no Reasons.
	Boots     bool      `json:"boots"`
	Generator Generator `json:"generator"`
	Kernel    string    `json:"kernel"`
	// Reasons say why it would not boot, and Notes what else one should know.
	Reasons []Finding       `json:"reasons"`
	Notes   []Finding       `json:"notes"`
	Devices []DeviceVerdict `json:"devices"`
}

// A Finding is something that is missing.
type Finding struct {
	Text string `json:"text"`
	// Remedy says what to do. It may be empty.
	Remedy string `json:"remedy,omitempty"`
}

// A DeviceKind is what a device is to a diskless boot.
type DeviceKind string

// The kinds. A bus brings other devices to light: virtio_pci, say, or a USB host
// controller.
const (
	NIC   DeviceKind = "nic"
	Bus   DeviceKind = "bus"
	Disk  DeviceKind = "disk"
	Other DeviceKind = "other"
)

// A DeviceVerdict is about one device.
type DeviceVerdict struct {
	Modalias string     `json:"modalias"`
	Kind     DeviceKind `json:"kind"`
	// Works says that it has a driver: one of Modules, or several.
	Works   bool            `json:"works"`
	Modules []ModuleVerdict `json:"modules"`
}

// A ModuleState is where a module is that drives a device.
type ModuleState string

// The states of a module.
const (
	InImage    ModuleState = "in the image"
	BuiltIn    ModuleState = "built in"
	Missing    ModuleState = "missing"
	Incomplete ModuleState = "without modules that it needs"
	NotLoaded  ModuleState = "in the image, but not loaded for devices"
)

// A ModuleVerdict is about one module that drives a device.
type ModuleVerdict struct {
	Name  string      `json:"name"`
	State ModuleState `json:"state"`
	// Missing are the modules that are not in the image.
	Missing []string `json:"missing,omitempty"`
}

// Check tells whether a node with certain devices would boot with an image: whether one
// of its network cards has a driver in it with all that this needs, whether it can mount
// the root over NFS, and whether the tree has modules for the same kernel. The image may
// be of any generator.
//
// It does not know what the modules do on the node: a firmware file that is missing, a
// switch that is not configured or a server that does not answer are not found.
func Check(img io.Reader, opts CheckOptions) (*Verdict, error) {
	facts, err := inspect(img)
	if err != nil {
		return nil, err
	}
	v := &Verdict{Generator: facts.generator, Reasons: []Finding{}, Notes: []Finding{}, Devices: []DeviceVerdict{}}
	if !facts.hasInit {
		v.reason("the image has no /init, so the kernel cannot use it as an initrd", "build the image again")
	}
	k, err := facts.choose(opts.Kernel)
	if err != nil {
		return nil, err
	}
	if k == nil {
		v.reason("the image has no kernel modules", "build the image for a kernel of the tree")
		return v, nil
	}
	c := &checker{v: v, k: k, known: k}
	v.Kernel = k.release
	if opts.Root != "" {
		if err := c.readTree(opts.Root); err != nil {
			return nil, err
		}
	}
	c.devices(opts.Devices)
	c.network()
	c.software()
	v.Boots = len(v.Reasons) == 0
	return v, nil
}

func (v *Verdict) reason(text, remedy string) {
	v.Reasons = append(v.Reasons, Finding{text, remedy})
}

func (v *Verdict) note(text, remedy string) { v.Notes = append(v.Notes, Finding{text, remedy}) }

// choose gives the kernel that was asked for; nil where there is none at all.
func (f *imageFacts) choose(release string) (*kernelFacts, error) {
	have := slices.Sorted(maps.Keys(f.kernels))
	switch {
	case release == "" && len(have) == 1:
		return f.kernels[have[0]], nil
	case release == "" && len(have) == 0:
		return nil, nil
	case release == "":
		return nil, OptionErrorf("Kernel", "the image has %d kernels: choose one of %s", len(have), strings.Join(have, ", "))
	case f.kernels[release] == nil && len(have) == 0:
		return nil, OptionErrorf("Kernel", "the image has no modules of kernel %s, and of no other kernel either", release)
	case f.kernels[release] == nil:
		return nil, OptionErrorf("Kernel", "the image has no modules of kernel %s: choose one of %s", release, strings.Join(have, ", "))
	}
	return f.kernels[release], nil
}

type checker struct {
	v *Verdict
	k *kernelFacts
	// known has all modules of the kernel: those of the tree where there is one, or
	// else those of the image.
	known *kernelFacts
	tree  bool
}

// readTree reads what the tree has of the image's kernel.
func (c *checker) readTree(root string) error {
	t, err := openTree(root)
	if err != nil {
		return err
	}
	dir := path.Join(modulesDir, c.k.release)
	_, err = t.stat(path.Join(dir, "modules.dep"))
	if errors.Is(err, fs.ErrNotExist) {
		c.v.reason(fmt.Sprintf("the image is for kernel %s, but the tree has no modules for that kernel in %s", c.k.release, t.path(dir)),
			"build the image for a kernel of the tree, and boot that kernel")
		return nil
	}
	if err != nil {
		return err
	}
	known, err := inspectTree(t, c.k.release)
	if err != nil {
		return err
	}
	c.known, c.tree = known, true
	maps.Copy(c.k.builtin, known.builtin)
	return nil
}

// devices finds the modules for each device.
func (c *checker) devices(modaliases []string) {
	index := image.NewAliasIndex(c.known.aliases)
	own := image.NewAliasIndex(c.k.aliases)
	seen := make(map[string]bool)
	for _, modalias := range modaliases {
		if modalias == "" || seen[modalias] {
			continue
		}
		seen[modalias] = true
		d := DeviceVerdict{Modalias: modalias, Kind: kindOf(modalias, "", ""), Modules: []ModuleVerdict{}}
		loaded := own.Match(modalias)
		for _, name := range index.Match(modalias) {
			m := c.module(name)
			if m.State == InImage && c.k.ownAliases && !slices.Contains(loaded, name) && !slices.Contains(c.k.force, name) {
				m.State = NotLoaded
			}
			if d.Kind == Other || buses[name] != "" {
				d.Kind = kindOf(modalias, name, c.known.files[name])
			}
			d.Works = d.Works || m.State == InImage || m.State == BuiltIn
			d.Modules = append(d.Modules, m)
		}
		c.v.Devices = append(c.v.Devices, d)
	}
}

// module tells where a module is.
func (c *checker) module(name string) ModuleVerdict {
	m := ModuleVerdict{Name: name, State: InImage, Missing: c.k.missing(name, c.known.deps)}
	switch {
	case c.k.builtin[name]:
		m.State, m.Missing = BuiltIn, nil
	case slices.Contains(m.Missing, name):
		m.State = Missing
	case len(m.Missing) > 0:
		m.State = Incomplete
	}
	return m
}

// network finds out whether there is a network card that works.
func (c *checker) network() {
	var bad []Finding
	works, cards := false, 0
	for _, d := range c.v.Devices {
		if d.Kind != NIC {
			continue
		}
		cards++
		why := c.card(d)
		if why == nil {
			works = true
			continue
		}
		bad = append(bad, *why)
	}
	switch {
	case cards == 0 && c.tree:
		c.v.reason("none of the devices is a network card for which the kernel has a driver", "check that the list has all devices of the node")
	case cards == 0:
		c.v.reason("none of the devices is known to be a network card", "give the tree, whose kernel has more drivers than the image, or check that the list has all devices of the node")
	case works:
		c.v.Notes = append(c.v.Notes, bad...)
	default:
		c.v.Reasons = append(c.v.Reasons, bad...)
	}
}

// card tells why a network card would not work.
func (c *checker) card(d DeviceVerdict) *Finding {
	subject := "network card " + d.Modalias + ": "
	if !d.Works {
		for _, m := range d.Modules {
			switch m.State {
			case Missing, Incomplete:
				return &Finding{fmt.Sprintf("%sits driver %s is %s (%s)", subject, m.Name, m.State, strings.Join(m.Missing, ", ")), c.remedy(m.Missing[0])}
			case NotLoaded:
				if c.v.Generator == Booster {
					return &Finding{fmt.Sprintf("%sits driver %s is in the image, but not for this device: the image was built on another machine", subject, m.Name),
						"build the image with booster build --universal, or add " + m.Name + " to modules_force_load: in /etc/booster.yaml and build it again"}
				}
				return &Finding{fmt.Sprintf("%sits driver %s is in the image, but a blacklist or install line in the tree's modprobe.d keeps it from being loaded", subject, m.Name),
					"remove that line and build the image again, or " + c.remedy(m.Name)}
			}
		}
		if c.tree {
			return &Finding{subject + "this kernel has no driver for it", "install a newer kernel in the tree, or its driver, and build the image again"}
		}
		return &Finding{subject + "the image has no driver for it", "give the tree to learn which module is its driver"}
	}
	// A device of such a bus appears only once the bus has a driver.
	bus, _, _ := strings.Cut(d.Modalias, ":")
	var drivers []string
	for _, name := range slices.Sorted(maps.Keys(buses)) {
		if buses[name] != bus {
			continue
		}
		m := c.module(name)
		if m.State == InImage || m.State == BuiltIn {
			return nil
		}
		if c.known.files[name] != "" || !c.tree {
			drivers = append(drivers, name)
		}
	}
	if len(drivers) == 0 || bus == "usb" && !c.has(Bus) {
		return nil
	}
	return &Finding{fmt.Sprintf("%sthe image has no driver for its bus (%s)", subject, strings.Join(drivers, " or ")), c.remedy(drivers[len(drivers)-1])}
}

func (c *checker) has(kind DeviceKind) bool {
	return slices.ContainsFunc(c.v.Devices, func(d DeviceVerdict) bool { return d.Kind == kind })
}

// software finds out whether the image can mount the root.
func (c *checker) software() {
	if c.v.Generator == Booster {
		c.v.reason("booster's /init cannot mount a root over NFS", "make the image with initrdgen, initramfs-tools or dracut")
		return
	}
	for _, r := range requirements {
		ours := c.k.manifest != nil
		if r.profile != "" && !(ours && slices.Contains(c.k.manifest.Profiles, r.profile)) {
			continue
		}
		if slices.Contains(r.anyOf, "overlay") && !ours {
			continue // Whether others stack anything is not known.
		}
		var missing []string
		met := false
		for _, name := range r.anyOf {
			m := c.module(name)
			if met = m.State == InImage || m.State == BuiltIn; met {
				break
			}
			missing = append(missing, m.Missing...)
		}
		switch {
		case met:
		case r.warn:
			c.v.note(fmt.Sprintf("%s is missing: %s", strings.Join(missing, ", "), r.without), c.remedy(missing[0]))
		default:
			c.v.reason(fmt.Sprintf("%s is missing, and is needed to mount the root", strings.Join(missing, ", ")), c.remedy(missing[0]))
		}
	}
}

// remedy says how to get a module into the image.
func (c *checker) remedy(module string) string {
	if c.tree && c.known.files[module] == "" {
		return "install a kernel that has the module " + module
	}
	if c.k.manifest == nil {
		return c.v.Generator.remedy(module)
	}
	for _, p := range profiles {
		if slices.Contains(c.k.manifest.Profiles, p.Name) {
			continue
		}
		for _, s := range p.sets {
			if sets[s].has(module, c.known.files[module]) {
				return fmt.Sprintf("build the image again with the profile %s, or with the module %s", p.Name, module)
			}
		}
	}
	return Sidusboot.remedy(module)
}
