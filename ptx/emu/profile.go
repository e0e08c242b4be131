package emu

// Profile holds counters of launches.
type Profile struct{}

type instCost struct{}

type launchProfile struct{}

type unitProfile struct{}

func newLaunchProfile(l *launch) *launchProfile              { return &launchProfile{} }
func (p *launchProfile) newUnit() *unitProfile               { return &unitProfile{} }
func (p *launchProfile) merge(old *Profile) *Profile         { return old }
func (p *unitProfile) count(x *exec, in *inst, m uint32)     {}
func (p *unitProfile) access(x *exec, in *inst, acc *access) {}
