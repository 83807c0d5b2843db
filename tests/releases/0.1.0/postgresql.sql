CREATE TABLE public.safelight_assessments (
    request_id character varying(80) NOT NULL,
    at double precision NOT NULL,
    instruction_type character varying(40) NOT NULL,
    error character varying(40) NOT NULL,
    score double precision,
    sharpness double precision,
    exposure double precision,
    colourfulness double precision,
    cleanness double precision,
    structure double precision,
    edges double precision,
    changed double precision,
    adherence double precision
);
CREATE TABLE public.safelight_installation (
    id integer NOT NULL,
    salt character varying(64) NOT NULL
);
CREATE TABLE public.safelight_ratings (
    request_id character varying(80) NOT NULL,
    at double precision NOT NULL,
    instruction_type character varying(40) NOT NULL,
    rating integer NOT NULL,
    reason character varying(40) NOT NULL
);
CREATE TABLE public.safelight_requests (
    request_id character varying(80) NOT NULL,
    at double precision NOT NULL,
    namespace character varying(40) NOT NULL,
    model character varying(200) NOT NULL,
    endpoint character varying(200) NOT NULL,
    status_code integer NOT NULL,
    error character varying(40) NOT NULL,
    instruction_type character varying(40) NOT NULL,
    seconds double precision NOT NULL,
    queue_seconds double precision NOT NULL,
    stages json NOT NULL,
    pipeline character varying(100),
    "precision" character varying(20),
    steps_asked integer,
    steps integer,
    width integer,
    height integer,
    guidance_asked double precision,
    guidance_in_force double precision,
    image_guidance_asked double precision,
    image_guidance_in_force double precision,
    overridden character varying(100) NOT NULL,
    negative_prompt boolean,
    batch integer,
    truncated boolean NOT NULL,
    degraded character varying(200) NOT NULL,
    seed bigint,
    trace_id character varying(64),
    background_entropy double precision,
    prompt text,
    prompt_hash character varying(64),
    owner_hash character varying(64)
);
CREATE TABLE public.safelight_samples (
    request_id character varying(80) NOT NULL,
    at double precision NOT NULL,
    instruction_type character varying(40) NOT NULL,
    failed boolean NOT NULL,
    before bytea NOT NULL,
    after bytea NOT NULL
);
CREATE TABLE public.safelight_version (
    version_num character varying(32) NOT NULL
);
INSERT INTO public.safelight_assessments VALUES ('request-0', 1800000000, 'make_him_old', 'none', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-1', 1800000000, 'make_him_old', 'none', 0.14285714285714285, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-2', 1800000000, 'make_him_old', 'none', 0.2857142857142857, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-3', 1800000000, 'make_him_old', 'none', 0.42857142857142855, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-4', 1800000000, 'make_him_old', 'none', 0.5714285714285714, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-5', 1800000000, 'make_him_old', 'none', 0.7142857142857143, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-6', 1800000000, 'make_him_old', 'none', 0.8571428571428571, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-7', 1800000000, 'make_him_old', 'none', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-8', 1800000000, 'make_him_old', 'none', 1.1428571428571428, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-9', 1800000000, 'make_him_old', 'none', 1.2857142857142858, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-10', 1800000000, 'make_him_old', 'none', 1.4285714285714286, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_assessments VALUES ('request-11', 1800000000, 'make_him_old', 'none', 1.5714285714285714, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.safelight_installation VALUES (1, '5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a');
INSERT INTO public.safelight_ratings VALUES ('request-0', 1800000000, 'make_him_old', 1, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-1', 1800000000, 'make_him_old', 2, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-2', 1800000000, 'make_him_old', 3, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-3', 1800000000, 'make_him_old', 4, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-4', 1800000000, 'make_him_old', 5, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-5', 1800000000, 'make_him_old', 1, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-6', 1800000000, 'make_him_old', 2, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-7', 1800000000, 'make_him_old', 3, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-8', 1800000000, 'make_him_old', 4, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-9', 1800000000, 'make_him_old', 5, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-10', 1800000000, 'make_him_old', 1, 'slow');
INSERT INTO public.safelight_ratings VALUES ('request-11', 1800000000, 'make_him_old', 2, 'slow');
INSERT INTO public.safelight_requests VALUES ('request-0', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, false, '', 4611686018427387904, 'abababababababababababababababab', 5.5, '老 ✓', 'dbdafbcd0876cd1e92703cb37d6342d1f193babc47da42c1aaa96f572b9d1770', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-1', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', 'Pix', 'float16', 2, 2, 64, 48, 7.5, 7.5, 0.5, 1, 'image_guidance_scale', true, 1, false, '', 7, 'abababababababababababababababab', 5.5, 'make him look like a secret', '7899e7a851d686bb3db59f841f9eaccdf8a6c51cf1f891febf26e4d3e6c788b6', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-2', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', 'Pix', 'float16', 2, 2, 64, 48, 7.5, 7.5, 0.5, 1, 'image_guidance_scale', true, 1, false, '', 7, 'abababababababababababababababab', 5.5, 'make him look like a secret', '7899e7a851d686bb3db59f841f9eaccdf8a6c51cf1f891febf26e4d3e6c788b6', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-3', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, false, '', 4611686018427387904, 'abababababababababababababababab', 5.5, '老 ✓', 'dbdafbcd0876cd1e92703cb37d6342d1f193babc47da42c1aaa96f572b9d1770', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-4', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', 'Pix', 'float16', 2, 2, 64, 48, 7.5, 7.5, 0.5, 1, 'image_guidance_scale', true, 1, false, '', 7, 'abababababababababababababababab', 5.5, 'make him look like a secret', '7899e7a851d686bb3db59f841f9eaccdf8a6c51cf1f891febf26e4d3e6c788b6', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-5', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', 'Pix', 'float16', 2, 2, 64, 48, 7.5, 7.5, 0.5, 1, 'image_guidance_scale', true, 1, false, '', 7, 'abababababababababababababababab', 5.5, 'make him look like a secret', '7899e7a851d686bb3db59f841f9eaccdf8a6c51cf1f891febf26e4d3e6c788b6', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-6', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, false, '', 4611686018427387904, 'abababababababababababababababab', 5.5, '老 ✓', 'dbdafbcd0876cd1e92703cb37d6342d1f193babc47da42c1aaa96f572b9d1770', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-7', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', 'Pix', 'float16', 2, 2, 64, 48, 7.5, 7.5, 0.5, 1, 'image_guidance_scale', true, 1, false, '', 7, 'abababababababababababababababab', 5.5, 'make him look like a secret', '7899e7a851d686bb3db59f841f9eaccdf8a6c51cf1f891febf26e4d3e6c788b6', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-8', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', 'Pix', 'float16', 2, 2, 64, 48, 7.5, 7.5, 0.5, 1, 'image_guidance_scale', true, 1, false, '', 7, 'abababababababababababababababab', 5.5, 'make him look like a secret', '7899e7a851d686bb3db59f841f9eaccdf8a6c51cf1f891febf26e4d3e6c788b6', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-9', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, false, '', 4611686018427387904, 'abababababababababababababababab', 5.5, '老 ✓', 'dbdafbcd0876cd1e92703cb37d6342d1f193babc47da42c1aaa96f572b9d1770', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-10', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', 'Pix', 'float16', 2, 2, 64, 48, 7.5, 7.5, 0.5, 1, 'image_guidance_scale', true, 1, false, '', 7, 'abababababababababababababababab', 5.5, 'make him look like a secret', '7899e7a851d686bb3db59f841f9eaccdf8a6c51cf1f891febf26e4d3e6c788b6', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_requests VALUES ('request-11', 1800000000, 'tests', 'm', '/api/edit', 200, 'none', 'make_him_old', 1.5, 0.5, '{"queue":0.5,"denoise":1.0}', 'Pix', 'float16', 2, 2, 64, 48, 7.5, 7.5, 0.5, 1, 'image_guidance_scale', true, 1, false, '', 7, 'abababababababababababababababab', 5.5, 'make him look like a secret', '7899e7a851d686bb3db59f841f9eaccdf8a6c51cf1f891febf26e4d3e6c788b6', 'f37d21cdf8003e8fe30c7ac9419c698a8ee9218ef44594e2fd0b0f91dac1bd42');
INSERT INTO public.safelight_samples VALUES ('request-0', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-1', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-2', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-3', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-4', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-5', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-6', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-7', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-8', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-9', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-10', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_samples VALUES ('request-11', 1800000000, 'make_him_old', false, '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff', '\x00ff');
INSERT INTO public.safelight_version VALUES ('0001');
ALTER TABLE ONLY public.safelight_assessments
    ADD CONSTRAINT safelight_assessments_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY public.safelight_installation
    ADD CONSTRAINT safelight_installation_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.safelight_ratings
    ADD CONSTRAINT safelight_ratings_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY public.safelight_requests
    ADD CONSTRAINT safelight_requests_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY public.safelight_samples
    ADD CONSTRAINT safelight_samples_pkey PRIMARY KEY (request_id);
ALTER TABLE ONLY public.safelight_version
    ADD CONSTRAINT safelight_version_pkc PRIMARY KEY (version_num);
CREATE INDEX ix_safelight_assessments_at ON public.safelight_assessments USING btree (at);
CREATE INDEX ix_safelight_ratings_at ON public.safelight_ratings USING btree (at);
CREATE INDEX ix_safelight_requests_at ON public.safelight_requests USING btree (at);
CREATE INDEX ix_safelight_samples_at ON public.safelight_samples USING btree (at);
CREATE INDEX safelight_requests_by_type ON public.safelight_requests USING btree (instruction_type, at);
CREATE INDEX safelight_samples_by_type ON public.safelight_samples USING btree (instruction_type, failed, at);
